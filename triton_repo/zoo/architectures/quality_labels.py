"""The labels of `frame_quality`, and where each begins: between 'sharp' and every fault there is a gap.

All amounts are those in the picture as the network sees it: scaled to a short side of VIEW pixels, 8 bits a colour.
"""

LABELS = ("sharp", "defocus", "motion_blur", "noise", "blocky", "too_dark", "too_bright", "blank")
VIEW = 256  # pixels of the short side: a "pixel" below is 1/256 of it, whatever the size of the file
SIZE = 224  # pixels square in the middle of it that the network is shown

Range = tuple[float, float]

DEFOCUS: Range = (2.0, 8.0)  # radius in pixels of the disc that a point becomes
MOTION: Range = (6.0, 32.0)  # pixels that a point is drawn out to
NOISE: Range = (10.0, 40.0)  # standard deviation of each colour in grey levels of 255, before clipping
BLOCKY_QUALITY: Range = (9.0, 2.0)  # of a JPEG file, on libjpeg's scale
BLOCKY_QP: Range = (48.0, 51.0)  # quantiser of H.264, its deblocking filter off: what that smears is not blocky
BLOCK: Range = (5.0, 16.0)  # pixels that a block of 8 x 8 is wide as the network sees it
BLOCKY_ERROR = 7.0  # grey levels (root mean square) that the file is off by at least: flat pictures show no blocks
DARK: Range = (60.0, 20.0)  # grey level below which 95% of the picture lies
BRIGHT: Range = (225.0, 330.0)  # grey level above which half of the picture lies, before it is cut at 255
BLANK_CONTRAST = 5.0  # grey levels from the 5th to the 95th percentile of what is left of a scene
BLANK_GRADIENT = 24.0  # grey levels from one corner to another: a covered lens lets some light in

# What every picture may have and still be sharp, or have beside its one fault.
SHARP_BLUR = 0.45  # standard deviation in pixels
SHARP_NOISE = 3.0
SHARP_QUALITY: Range = (45.0, 98.0)
SHARP_QP: Range = (16.0, 31.0)
SHARP_LIGHT = 100.0  # the 95th percentile is at least this
SHARP_MEDIAN = 180.0  # and the median at most this
SHARP_CONTRAST = 60.0  # from the 5th to the 95th percentile

# A scene without detail looks the same sharp and blurred, to a person too: it is not used. Of the brightness, as
# parts of the contrast: how far the sharpest hundredth of the pixels stand out from their 3 x 3 neighbours, and the
# root mean square change from pixel to pixel in the direction of least change.
LEAST_EDGE = 0.075
LEAST_CHANGE = 0.02

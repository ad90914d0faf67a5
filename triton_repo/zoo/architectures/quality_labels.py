"""Labels of `frame_quality` and the range of each fault; a gap separates 'sharp' from every fault.

All amounts refer to the picture as the network sees it: a short side of VIEW pixels, 8 bits a colour.
"""

LABELS = ("sharp", "defocus", "motion_blur", "noise", "blocky", "too_dark", "too_bright", "blank")
VIEW = 256  # short side in pixels; a "pixel" below is 1/256 of it, whatever the size of the file
SIZE = 224  # side in pixels of the centre square that the network sees

Range = tuple[float, float]

DEFOCUS: Range = (2.0, 8.0)  # radius in pixels of the disc that a point becomes
MOTION: Range = (6.0, 32.0)  # length in pixels of the line that a point becomes
NOISE: Range = (10.0, 40.0)  # standard deviation of each colour in grey levels of 255, before clipping
BLOCKY_QUALITY: Range = (9.0, 2.0)  # quality of a JPEG file on libjpeg's scale
BLOCKY_QP: Range = (48.0, 51.0)  # H.264 quantiser without the deblocking filter, which would smear the blocks
BLOCK: Range = (5.0, 16.0)  # width in pixels of a block of 8 x 8 in the network's view
BLOCKY_ERROR = 7.0  # least root-mean-square error of the file in grey levels: flat pictures show no blocks
DARK: Range = (60.0, 20.0)  # grey level below which 95% of the picture lies
BRIGHT: Range = (225.0, 330.0)  # grey level above which half of the picture lies, before clipping at 255
BLANK_CONTRAST = 5.0  # grey levels from the 5th to the 95th percentile of the scene's remains
BLANK_GRADIENT = 24.0  # grey levels from one corner to another: a covered lens admits some light

# Amounts that a sharp picture may have, and that any picture may have beside its one fault.
SHARP_BLUR = 0.45  # standard deviation in pixels
SHARP_NOISE = 3.0
SHARP_QUALITY: Range = (45.0, 98.0)
SHARP_QP: Range = (16.0, 31.0)
SHARP_LIGHT = 100.0  # least 95th percentile, grey level
SHARP_MEDIAN = 180.0  # largest median, grey level
SHARP_CONTRAST = 60.0  # least distance of the 5th and 95th percentiles, grey levels

# Scenes with less detail are not used: they look the same sharp and blurred, also to a person. Both figures are parts
# of the contrast of the brightness. LEAST_EDGE: 99th percentile of the difference to the 3 x 3 neighbours.
# LEAST_CHANGE: root-mean-square change from pixel to pixel in the direction of least change.
LEAST_EDGE = 0.075
LEAST_CHANGE = 0.02

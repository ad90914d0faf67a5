// Depthwise 3-D convolution with bias and activation, for clips whose channels are stored last.
//
//   input   bf16   (clips, frames, height, width, channels)          channels are even
//   weight  float  (KT * KH * KW, channels)
//   bias    float  (channels)
//   output  bf16   (clips, frames, out_height, out_width, channels)
//
// KT, KH and KW are odd and padded by half, so stride 1 keeps the size. STRIDE is that of height and width; that of
// frames is 1. Sums are float. One thread makes ACROSS neighbours along the width of two channels, for `span` frames:
// it reads each input once and adds it to the sums of all frames that it belongs to. Neighbouring threads have
// neighbouring channels, so a warp reads whole cache lines. No header is needed, so NVRTC compiles this anywhere.

#ifndef KT
#define KT 3
#define KH 3
#define KW 3
#define STRIDE 1
#endif

#define ACROSS 4
#define COLUMNS ((ACROSS - 1) * STRIDE + KW)
#define TAPS (KT * KH * KW)
#define BEFORE (KT / 2)

enum Activation { NONE = 0, SILU = 1, RELU = 2 };

static __device__ __forceinline__ float activated(float value, int activation)
{
    if (activation == SILU) return value / (1.0f + __expf(-value));
    if (activation == RELU) return fmaxf(value, 0.0f);
    return value;
}

// bf16 is the upper half of a float; ties go to the even neighbour
static __device__ __forceinline__ unsigned int rounded(float value)
{
    const unsigned int bits = __float_as_uint(value);
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

extern "C" __global__ void __launch_bounds__(128)
depthwise(const unsigned int* __restrict__ input, const float* __restrict__ weight, const float* __restrict__ bias,
          unsigned int* __restrict__ output, int clips, int frames, int height, int width, int pairs, int span,
          int activation)
{
    const int out_height = (height - 1) / STRIDE + 1, out_width = (width - 1) / STRIDE + 1;
    const int groups = (out_width + ACROSS - 1) / ACROSS, spans = (frames + span - 1) / span;

    long long rest = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const int pair = (int)(rest % pairs);
    rest /= pairs;
    const int left = (int)(rest % groups) * ACROSS;
    rest /= groups;
    const int row = (int)(rest % out_height);
    rest /= out_height;
    const int begin = (int)(rest % spans) * span, end = begin + span < frames ? begin + span : frames;
    const long long clip = rest / spans;
    if (clip >= clips) return;

    float taps[TAPS][2];
#pragma unroll
    for (int tap = 0; tap < TAPS; tap++) {
        taps[tap][0] = weight[(tap * pairs + pair) * 2];
        taps[tap][1] = weight[(tap * pairs + pair) * 2 + 1];
    }
    const float offset[2] = {bias[pair * 2], bias[pair * 2 + 1]};

    float sums[KT][ACROSS][2]; // of the frames from `frame - BEFORE` on
#pragma unroll
    for (int later = 0; later < KT; later++)
#pragma unroll
        for (int place = 0; place < ACROSS; place++) {
            sums[later][place][0] = offset[0];
            sums[later][place][1] = offset[1];
        }

    for (int frame = begin - BEFORE; frame < end + BEFORE; frame++) {
        if (frame >= 0 && frame < frames) {
#pragma unroll
            for (int kh = 0; kh < KH; kh++) {
                const int y = row * STRIDE + kh - KH / 2;
                if (y < 0 || y >= height) continue;
                const unsigned int* line = input + ((clip * frames + frame) * height + y) * width * pairs + pair;
                float values[COLUMNS][2];
#pragma unroll
                for (int column = 0; column < COLUMNS; column++) {
                    const int x = left * STRIDE + column - KW / 2;
                    const unsigned int word = x >= 0 && x < width ? __ldg(line + (long long)x * pairs) : 0u;
                    values[column][0] = __uint_as_float(word << 16);
                    values[column][1] = __uint_as_float(word & 0xffff0000u);
                }
#pragma unroll
                for (int kt = 0; kt < KT; kt++)
#pragma unroll
                    for (int kw = 0; kw < KW; kw++)
#pragma unroll
                        for (int place = 0; place < ACROSS; place++)
#pragma unroll
                            for (int half = 0; half < 2; half++)
                                sums[KT - 1 - kt][place][half] =
                                    fmaf(values[place * STRIDE + kw][half], taps[(kt * KH + kh) * KW + kw][half],
                                         sums[KT - 1 - kt][place][half]);
            }
        }
        const int complete = frame - BEFORE; // no later frame belongs to it
        if (complete >= begin) {
            unsigned int* line = output + ((clip * frames + complete) * out_height + row) * out_width * pairs + pair;
#pragma unroll
            for (int place = 0; place < ACROSS; place++)
                if (left + place < out_width)
                    line[(long long)(left + place) * pairs] =
                        rounded(activated(sums[0][place][1], activation)) << 16 |
                        rounded(activated(sums[0][place][0], activation));
        }
#pragma unroll
        for (int place = 0; place < ACROSS; place++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
#pragma unroll
                for (int later = 0; later + 1 < KT; later++) sums[later][place][half] = sums[later + 1][place][half];
                sums[KT - 1][place][half] = offset[half];
            }
    }
}

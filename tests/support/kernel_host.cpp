// The depthwise kernel for the CPU: CUDA's names by their meaning there, and a loop over blocks and threads.
// -DKERNEL names the source.
#include <cmath>
#include <cstring>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(threads)

struct Index {
    unsigned int x;
};
static Index blockIdx, blockDim, threadIdx;

static inline unsigned int __ldg(const unsigned int *address) { return *address; }
#define __expf(value) std::exp(value) // glibc declares a function of this name

static inline unsigned int __float_as_uint(float value)
{
    unsigned int bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float __uint_as_float(unsigned int bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

#include KERNEL

extern "C" void run(int blocks, int threads, const unsigned int *input, const float *weight, const float *bias,
                    unsigned int *output, int clips, int frames, int height, int width, int pairs, int span,
                    int activation)
{
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < (unsigned int)blocks; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < (unsigned int)threads; threadIdx.x++)
            depthwise(input, weight, bias, output, clips, frames, height, width, pairs, span, activation);
}

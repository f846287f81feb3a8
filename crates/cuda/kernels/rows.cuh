// What happens to rows between two matrix products, each in one pass over memory.
#pragma once

#include "device.cuh"

// As crates/cuda/src/rows.rs names them.
enum Activation { IDENTITY, GELU, GELU_TANH, QUICK_GELU, RELU, SILU, TANH };

DEVICE float activated(float x, int activation) {
    switch (activation) {
        case GELU: return 0.5f * x * (1.0f + erff(x * 0.70710678118654752440f));
        case GELU_TANH: return 0.5f * x * (1.0f + tanhf(0.79788456080286535588f * (x + 0.044715f * x * x * x)));
        case QUICK_GELU: return x / (1.0f + expf(-1.702f * x));
        case RELU: return x > 0.0f ? x : 0.0f;
        case SILU: return x / (1.0f + expf(-x));
        case TANH: return tanhf(x);
        default: return x;
    }
}

// N numbers at a time, as one access to memory.
template <typename T, int N> struct alignas(sizeof(T) * N) Numbers { T at[N]; };

template <int N, typename T> DEVICE Numbers<T, N> numbers(const T *from) {
    return *reinterpret_cast<const Numbers<T, N> *>(from);
}

template <int N, typename T> DEVICE void store(T *into, const float (&x)[N]) {
    Numbers<T, N> rounded;
#pragma unroll
    for (int i = 0; i < N; i++) rounded.at[i] = from_float<T>(x[i]);
    *reinterpret_cast<Numbers<T, N> *>(into) = rounded;
}

// x += from, if it is there.
template <int N, typename T> DEVICE void add(float (&x)[N], const T *from) {
    if (!from) return;
    const auto more = numbers<N>(from);
#pragma unroll
    for (int i = 0; i < N; i++) x[i] += to_float(more.at[i]);
}

struct Activate {
    const void *x;    // [rows, width], or [rows, 2 · width] gated
    const void *bias; // as wide as x; null: none
    void *out;        // [rows, width], which may be x if it is not gated
    long long rows;
    int width; // a multiple of N
    int activation;
    int gated; // whether the first half of x, activated, is multiplied with the second
};

// out = activation(x + bias)
template <typename T, int N> DEVICE void activate(const Activate &p) {
    const long long at = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
    if (at >= p.rows * p.width) return;
    const long long row = at / p.width;
    const int column = int(at % p.width), wide = p.gated ? 2 * p.width : p.width;
    const T *x = static_cast<const T *>(p.x) + row * wide, *bias = static_cast<const T *>(p.bias);
    float values[N] = {};
    add<N>(values, x + column);
    add<N>(values, bias ? bias + column : nullptr);
#pragma unroll
    for (int i = 0; i < N; i++) values[i] = activated(values[i], p.activation);
    if (p.gated) {
        float factors[N] = {};
        add<N>(factors, x + p.width + column);
        add<N>(factors, bias ? bias + p.width + column : nullptr);
#pragma unroll
        for (int i = 0; i < N; i++) values[i] *= factors[i];
    }
    store<N>(static_cast<T *>(p.out) + at, values);
}

struct Norm {
    // What is normed: the sum of what is there of these.
    const void *x;         // [rows, width] of T
    const void *bias;      // [width] of T
    const float *residual; // [rows, width]
    const void *tables[4]; // rows of tables [·, width] of T, added in this order,
    const unsigned *ids[4]; // and which
    // Weight and bias [width] of the norm. Without a weight nothing is normed.
    const float *weight;
    const float *offset;
    // Where it goes, as f32 and as T; null: nowhere.
    float *wide;
    void *narrow;
    int width; // a multiple of N
    float eps;
};

// Of all threads of a block, through the first floats of shared memory.
DEVICE float block_sum(float x, float *shared) {
    for (int lanes = 16; lanes > 0; lanes /= 2) x += shuffle_xor(x, lanes);
    barrier(); // nobody reads an earlier sum
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    barrier();
    float sum = 0.0f;
    for (unsigned warp = 0; warp < blockDim.x / 32; warp++) sum += shared[warp];
    return sum;
}

// A block a row; its threads are whole warps.
template <typename T, int N> DEVICE void norm(const Norm &p) {
    float *sums = reinterpret_cast<float *>(shared_memory()), *row = sums + 32;
    const size_t start = size_t(blockIdx.x) * p.width;
    float total = 0.0f;
    for (int c = threadIdx.x * N; c < p.width; c += blockDim.x * N) {
        float x[N] = {};
        add<N>(x, p.x ? static_cast<const T *>(p.x) + start + c : nullptr);
        add<N>(x, p.bias ? static_cast<const T *>(p.bias) + c : nullptr);
        add<N>(x, p.residual ? p.residual + start + c : nullptr);
#pragma unroll
        for (int t = 0; t < 4; t++)
            if (p.tables[t]) add<N>(x, static_cast<const T *>(p.tables[t]) + size_t(p.ids[t][blockIdx.x]) * p.width + c);
#pragma unroll
        for (int i = 0; i < N; i++) total += x[i];
        store<N>(row + c, x);
    }
    float mean = 0.0f, scale = 1.0f;
    if (p.weight) { // the same for all threads
        mean = block_sum(total, sums) / float(p.width);
        float squares = 0.0f;
        for (int c = threadIdx.x * N; c < p.width; c += blockDim.x * N)
#pragma unroll
            for (int i = 0; i < N; i++) squares += (row[c + i] - mean) * (row[c + i] - mean);
        scale = 1.0f / sqrtf(block_sum(squares, sums) / float(p.width) + p.eps);
    }
    for (int c = threadIdx.x * N; c < p.width; c += blockDim.x * N) {
        float x[N] = {};
        add<N>(x, row + c); // written by this thread
        if (p.weight) {
            const auto weight = numbers<N>(p.weight + c);
#pragma unroll
            for (int i = 0; i < N; i++) x[i] = (x[i] - mean) * scale * weight.at[i];
            add<N>(x, p.offset ? p.offset + c : nullptr);
        }
        if (p.wide) store<N>(p.wide + start + c, x);
        if (p.narrow) store<N>(static_cast<T *>(p.narrow) + start + c, x);
    }
}

struct Fold {
    const float *x;       // [rows, width]
    const unsigned *ends; // of each target: where its terms end; they start where those of the target before end
    const unsigned *rows; // of each term
    const float *weights;
    float *out; // [targets, width]
    int width;
    int largest; // whether a target is the largest of its terms, and not their weighted sum
};

// Few rows of many: one block a target.
DEVICE void fold(const Fold &p) {
    const unsigned begin = blockIdx.x ? p.ends[blockIdx.x - 1] : 0, end = p.ends[blockIdx.x];
    for (int c = threadIdx.x; c < p.width; c += blockDim.x) {
        float result = p.largest ? -INFINITY : 0.0f;
        for (unsigned term = begin; term < end; term++) {
            const float x = p.x[size_t(p.rows[term]) * p.width + c];
            result = p.largest ? fmaxf(result, x) : result + p.weights[term] * x;
        }
        p.out[size_t(blockIdx.x) * p.width + c] = result;
    }
}

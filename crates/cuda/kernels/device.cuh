// What the kernels take from the machine: number types, shared memory, copies, and the instructions of a warp. nvcc compiles
// this file's own definitions; for any other compiler emulator.h has the same names, so that the kernels' arithmetic and indices
// can be tested where there is no GPU.
#pragma once

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#define DEVICE __device__ __forceinline__

using f16 = __half;
using bf16 = __nv_bfloat16;

extern __shared__ __align__(16) unsigned char block_memory[];
DEVICE unsigned char *shared_memory() { return block_memory; }

DEVICE void barrier() { __syncthreads(); }
DEVICE float shuffle_xor(float x, int lanes) { return __shfl_xor_sync(0xffffffffu, x, lanes); }

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(f16 x) { return __half2float(x); }
DEVICE float to_float(bf16 x) { return __bfloat162float(x); }

template <typename T> DEVICE T from_float(float x);
template <> DEVICE float from_float<float>(float x) { return x; }
template <> DEVICE f16 from_float<f16>(float x) { return __float2half_rn(x); }
template <> DEVICE bf16 from_float<bf16>(float x) { return __float2bfloat16_rn(x); }

// Two numbers side by side, the first in the lower half.
template <typename T> DEVICE uint32_t pack(float first, float second) {
    union { T numbers[2]; uint32_t bits; } both;
    both.numbers[0] = from_float<T>(first);
    both.numbers[1] = from_float<T>(second);
    return both.bits;
}

// Four matrices of 8 × 8 numbers of 16 bits; lanes 8m to 8m + 7 say where the rows of matrix m are. Lane l gets, of each, the
// numbers 2(l % 4) and 2(l % 4) + 1 of row l / 4, or of column l / 4 where they are transposed.
template <bool TRANSPOSED> DEVICE void load_matrices(uint32_t (&into)[4], const void *row) {
    const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    if constexpr (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(into[0]), "=r"(into[1]), "=r"(into[2]), "=r"(into[3]) : "r"(at) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(into[0]), "=r"(into[1]), "=r"(into[2]), "=r"(into[3]) : "r"(at) : "memory");
}

// sums (16 × 8) += a (16 × 16) · b (16 × 8), as PTX lays out mma.m16n8k16.
template <typename T> DEVICE void multiply_add(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <> DEVICE void multiply_add<f16>(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <> DEVICE void multiply_add<bf16>(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 16 bytes into shared memory while the thread computes on, or zeros.
DEVICE void copy_16(void *into, const void *from, bool wanted) {
    const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(into));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(wanted ? 16 : 0) : "memory");
}
DEVICE void copies_end() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for all groups of copies but the last so many.
template <int LATER> DEVICE void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(LATER) : "memory"); }

#else
#include "emulator.h"
#endif

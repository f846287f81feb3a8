// The kernels by the names that src/ looks for: operation, type, and the size that they are for.
#include "attention.cuh"
#include "rows.cuh"

#define KERNEL(name, threads) extern "C" __global__ void __launch_bounds__(threads) name

#define ATTENTION_16(type, size) \
    KERNEL(attention_##type##_##size, 128)(Attention p) { Attention16<type, size>::run(p); }
#define ATTENTION_32(size) \
    KERNEL(attention_f32_##size, 256)(Attention p) { Attention32<size>::run(p); }
#define ROWS(type, name) \
    KERNEL(activate_##name##_4, 256)(Activate p) { activate<type, 4>(p); } \
    KERNEL(activate_##name##_1, 256)(Activate p) { activate<type, 1>(p); } \
    KERNEL(norm_##name##_4, 256)(Norm p) { norm<type, 4>(p); } \
    KERNEL(norm_##name##_1, 256)(Norm p) { norm<type, 1>(p); }

ATTENTION_16(f16, 32)
ATTENTION_16(f16, 64)
ATTENTION_16(f16, 128)
ATTENTION_16(bf16, 32)
ATTENTION_16(bf16, 64)
ATTENTION_16(bf16, 128)
ATTENTION_32(32)
ATTENTION_32(64)
ATTENTION_32(128)
ROWS(float, f32)
ROWS(f16, f16)
ROWS(bf16, bf16)
KERNEL(fold_f32, 256)(Fold p) { fold(p); }

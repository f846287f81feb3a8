// A GPU's blocks on the host, one after the other: each thread is a fiber that runs until the next barrier of its block or its
// warp. What a warp does together (shuffles, matrix instructions) is written here from PTX's description, apart from the kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <ucontext.h>
#include <vector>

#define DEVICE inline
#define __global__
#define __launch_bounds__(...)

using std::max; // as CUDA has them
using std::min;

struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct float4 { float x, y, z, w; };

struct Barrier {
    int threads = 0, there = 0;
    unsigned turn = 0;
};

struct Block {
    std::vector<unsigned char> memory;
    std::vector<Barrier> warps;
    Barrier all;
    std::vector<std::vector<uint64_t>> lanes; // what lanes of a warp show each other, up to 8 words each
    std::vector<std::vector<std::vector<std::pair<void *, const void *>>>> copies; // of each thread: groups
    std::vector<ucontext_t> fibers;
    std::vector<bool> done;
    ucontext_t scheduler;
    bool progress = false;
    unsigned current = 0;
};

inline Block *block = nullptr;
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

inline void wait_at(Barrier &barrier) {
    const unsigned turn = barrier.turn;
    block->progress = true;
    if (++barrier.there == barrier.threads) {
        barrier.there = 0;
        barrier.turn++;
        return;
    }
    while (barrier.turn == turn) {
        swapcontext(&block->fibers[block->current], &block->scheduler);
    }
}

inline void run_fiber(unsigned low, unsigned high) {
    const auto body = reinterpret_cast<std::function<void()> *>(uint64_t(low) | uint64_t(high) << 32);
    (*body)();
    block->done[block->current] = true;
    block->progress = true;
    swapcontext(&block->fibers[block->current], &block->scheduler);
}

// Runs `kernel` for every block of the grid.
inline void launch(dim3 grid, unsigned threads, size_t shared_bytes, std::function<void()> kernel) {
    constexpr size_t STACK = 256 << 10;
    std::vector<unsigned char> stacks(STACK * threads);
    gridDim = grid;
    blockDim = {threads, 1, 1};
    for (unsigned y = 0; y < grid.y; y++)
        for (unsigned x = 0; x < grid.x; x++) {
            Block here;
            block = &here;
            here.memory.assign(shared_bytes + 64, 0xff); // NaNs: shared memory has no values of its own
            here.all.threads = int(threads);
            here.warps.resize((threads + 31) / 32);
            for (size_t warp = 0; warp < here.warps.size(); warp++)
                here.warps[warp].threads = int(std::min(32u, threads - unsigned(warp) * 32));
            here.lanes.assign(threads, std::vector<uint64_t>(8));
            here.copies.resize(threads);
            here.fibers.resize(threads);
            here.done.assign(threads, false);
            const uint64_t body = reinterpret_cast<uint64_t>(&kernel);
            for (unsigned i = 0; i < threads; i++) {
                getcontext(&here.fibers[i]);
                here.fibers[i].uc_stack.ss_sp = stacks.data() + STACK * i;
                here.fibers[i].uc_stack.ss_size = STACK;
                here.fibers[i].uc_link = nullptr;
                makecontext(&here.fibers[i], reinterpret_cast<void (*)()>(run_fiber), 2, unsigned(body), unsigned(body >> 32));
            }
            // A warp runs as far ahead of the others as it can, now the first and now the last, so that a barrier that is missing shows.
            const unsigned warps = unsigned(here.warps.size());
            for (unsigned pass = 0, left = threads; left > 0; pass++) {
                bool any = false;
                for (unsigned i = 0; i < warps; i++) {
                    const unsigned warp = pass % 2 ? warps - 1 - i : i;
                    do {
                        here.progress = false;
                        for (unsigned thread = warp * 32; thread < min(threads, warp * 32 + 32); thread++) {
                            if (here.done[thread]) continue;
                            here.current = thread;
                            threadIdx = {thread, 0, 0};
                            blockIdx = {x, y, 0};
                            swapcontext(&here.scheduler, &here.fibers[thread]);
                            left -= here.done[thread];
                        }
                        any |= here.progress;
                    } while (here.progress);
                }
                if (left > 0 && !any) {
                    fprintf(stderr, "threads of a block wait at different barriers\n");
                    abort();
                }
            }
        }
}

inline unsigned char *shared_memory() {
    const auto at = reinterpret_cast<uintptr_t>(block->memory.data());
    return block->memory.data() + (16 - at % 16) % 16;
}

inline void barrier() { wait_at(block->all); }
inline void warp_barrier() { wait_at(block->warps[block->current / 32]); }
inline std::vector<uint64_t> &lane(unsigned lane) { return block->lanes[block->current / 32 * 32 + lane]; }
inline unsigned this_lane() { return block->current % 32; }

inline float shuffle_xor(float x, int lanes) {
    memcpy(&lane(this_lane())[0], &x, 4);
    warp_barrier();
    float other;
    memcpy(&other, &lane(this_lane() ^ unsigned(lanes))[0], 4);
    warp_barrier();
    return other;
}

// binary16 and bfloat16, rounded to the nearest, ties to even.
struct f16 { uint16_t bits; };
struct bf16 { uint16_t bits; };

inline float to_float(float x) { return x; }
inline float to_float(bf16 x) {
    const uint32_t bits = uint32_t(x.bits) << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
inline float to_float(f16 x) {
    const int exponent = x.bits >> 10 & 31, mantissa = x.bits & 1023;
    const float sign = x.bits >> 15 ? -1.0f : 1.0f;
    if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * std::ldexp(float(mantissa), -24);
    return sign * std::ldexp(float(mantissa + 1024), exponent - 25);
}

template <typename T> T from_float(float x);
template <> inline float from_float<float>(float x) { return x; }
template <> inline bf16 from_float<bf16>(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (std::isnan(x)) return {uint16_t(bits >> 16 | 64)};
    return {uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
template <> inline f16 from_float<f16>(float x) {
    const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    const float size = std::fabs(x);
    if (std::isnan(x)) return {0x7e00};
    if (size >= 65520.0f) return {uint16_t(sign | 0x7c00)};
    if (size == 0.0f) return {sign};
    int exponent;
    std::frexp(size, &exponent); // size = fraction · 2^exponent, 0.5 ≤ fraction < 1
    const int unit = std::max(exponent - 11, -24);
    const auto units = uint32_t(std::nearbyint(std::ldexp(size, -unit)));
    // Units below 1024 are subnormal, and 2048 carries into the exponent by itself.
    return {uint16_t(sign | (unit == -24 ? units : units + (uint32_t(unit + 24) << 10)))};
}

template <typename T> uint32_t pack(float first, float second) {
    const T numbers[2] = {from_float<T>(first), from_float<T>(second)};
    uint32_t bits;
    memcpy(&bits, numbers, 4);
    return bits;
}

template <bool TRANSPOSED> void load_matrices(uint32_t (&into)[4], const void *row) {
    lane(this_lane())[0] = reinterpret_cast<uint64_t>(row);
    warp_barrier();
    const unsigned l = this_lane();
    for (unsigned m = 0; m < 4; m++) {
        uint16_t two[2];
        for (unsigned i = 0; i < 2; i++) {
            const unsigned r = TRANSPOSED ? 2 * (l % 4) + i : l / 4, c = TRANSPOSED ? l / 4 : 2 * (l % 4) + i;
            const uint64_t at = lane(8 * m + r)[0];
            if (at % 16 != 0) abort(); // ldmatrix wants rows at 16 bytes
            memcpy(&two[i], reinterpret_cast<const uint16_t *>(at) + c, 2);
        }
        memcpy(&into[m], two, 4);
    }
    warp_barrier();
}

template <typename T> float number(uint64_t bits, unsigned which) {
    T x;
    const auto half = uint16_t(bits >> (16 * which));
    memcpy(&x, &half, 2);
    return to_float(x);
}

template <typename T> void multiply_add(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    auto &mine = lane(this_lane());
    for (int i = 0; i < 4; i++) mine[i] = a[i];
    mine[4] = b0;
    mine[5] = b1;
    warp_barrier();
    // PTX: row r of A, place k: register (r ≥ 8) + 2 (k ≥ 8) of lane 4 (r % 8) + k % 8 / 2. Column n of B, place k: register k ≥ 8 of
    // lane 4 n + k % 8 / 2. Sums: rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next.
    for (unsigned i = 0; i < 4; i++) {
        const unsigned r = this_lane() / 4 + (i >= 2 ? 8 : 0), n = 2 * (this_lane() % 4) + i % 2;
        float sum = 0.0f;
        for (unsigned k = 0; k < 16; k++) {
            const uint64_t x = lane(4 * (r % 8) + k % 8 / 2)[(r >= 8) + 2 * (k >= 8)];
            const uint64_t y = lane(4 * n + k % 8 / 2)[4 + (k >= 8)];
            sum += number<T>(x, k % 2) * number<T>(y, k % 2);
        }
        sums[i] += sum;
    }
    warp_barrier();
}

// Copies happen as late as they may: when the thread waits for them.
inline void copy_16(void *into, const void *from, bool wanted) {
    if (reinterpret_cast<uintptr_t>(into) % 16 != 0 || (wanted && reinterpret_cast<uintptr_t>(from) % 16 != 0)) abort();
    auto &groups = block->copies[block->current];
    if (groups.empty()) groups.emplace_back();
    groups.back().push_back({into, wanted ? from : nullptr});
}
inline void copies_end() {
    auto &groups = block->copies[block->current];
    if (groups.empty()) groups.emplace_back();
    groups.emplace_back(); // the next group
}
template <int LATER> void copies_wait() {
    auto &groups = block->copies[block->current];
    while (int(groups.size()) > LATER + 1) { // the last is not ended
        for (const auto &[into, from] : groups.front()) {
            if (from) memcpy(into, from, 16);
            else memset(into, 0, 16);
        }
        groups.erase(groups.begin());
    }
}


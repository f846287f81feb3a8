// Attention over packed texts: softmax(q·kᵀ / √d + bias) · v of each text alone, however long each is, without padding. A block
// takes 64 queries of one text and one head and walks over the text's keys, a tile at a time, with a softmax that is corrected as
// larger scores come (Milakov & Gimelshein 2018, Dao et al. 2022): no matrix of scores is ever in memory.
#pragma once

#include "device.cuh"

// The queries of a block, in rows of the packed batch.
struct Tile {
    int start; // where the text starts
    int len;   // its rows
    int first; // the first query, counted within the text
    int unused;
};

struct Attention {
    const void *qkv;           // [rows, 3 · hidden]: q, k and v, each [heads, head_size]
    void *out;                 // [rows, hidden]
    const Tile *tiles;         // one for each block of the grid's x; y is the head
    const unsigned char *mask; // which rows may be attended to; null: all
    const void *added;         // [3 · hidden], what is still to be added to qkv; null: nothing
    const float *distances;    // [heads, 2 · reach + 1], added to scores by key − query; null: nothing
    const float *cosines;      // [position, pairs], of the angles by which q and k are turned; null: they are not
    const float *sines;
    int hidden;
    int head_size; // up to the D that a kernel is for; the places beyond it are zeros
    int reach;
    int window; // how many rows before it and after it a row attends to; negative: all
    int pairs;
    float scale; // 1 / √head_size
};

constexpr int QUERIES = 64;
constexpr float LOG2_E = 1.44269504088896340736f;

// One number of q (0) or k (1), turned: place i turns with place i + pairs, the rest stays.
template <typename T> DEVICE float turned(const Attention &p, const T *row, const T *added, int position, int d) {
    const auto at = [&](int place) { return to_float(row[place]) + (added ? to_float(added[place]) : 0.0f); };
    if (!p.cosines || d >= 2 * p.pairs) return at(d);
    const int pair = d < p.pairs ? d : d - p.pairs;
    const float cosine = p.cosines[position * p.pairs + pair], sine = p.sines[position * p.pairs + pair];
    const float a = at(pair), b = at(pair + p.pairs);
    return d < p.pairs ? a * cosine - b * sine : b * cosine + a * sine;
}

// Which keys a block's queries may see: whole tiles of them.
template <int KEYS> DEVICE void key_range(const Attention &p, const Tile &tile, int &begin, int &end) {
    begin = p.window < 0 ? 0 : max(0, tile.first - p.window) / KEYS * KEYS;
    end = p.window < 0 ? tile.len : min(tile.len, tile.first + QUERIES + p.window);
}

// A score in powers of two, or −∞ where the query does not see the key.
DEVICE float score(const Attention &p, const Tile &tile, int head, int query, int key, float product) {
    const bool seen = key < tile.len && (!p.mask || p.mask[tile.start + key]) && (p.window < 0 || abs(key - query) <= p.window);
    if (!seen) return -INFINITY;
    float x = product * p.scale;
    if (p.distances) x += p.distances[head * (2 * p.reach + 1) + min(max(key - query, -p.reach), p.reach) + p.reach];
    return x * LOG2_E;
}

// f16 and bf16: a warp has 16 queries, in the registers of the tensor cores' instructions.
template <typename T, int D> struct Attention16 {
    static constexpr int THREADS = 128;
    static constexpr int KEYS = 64;
    static constexpr int ROW = D + 8; // so that the rows of a matrix are in different banks
    static constexpr int SHARED = 2 * KEYS * ROW * int(sizeof(T));

    // Rows of q, k or v into shared memory, zeros beyond the text and the head.
    static DEVICE void load(const Attention &p, const Tile &tile, T *into, int column, int first, const T *added, bool turn) {
        const int stride = 3 * p.hidden;
        const T *from = static_cast<const T *>(p.qkv) + size_t(tile.start) * stride + column;
        if (p.head_size % 8 == 0 && !added && !(turn && p.cosines)) {
            for (int i = threadIdx.x; i < KEYS * (D / 8); i += THREADS) {
                const int row = i / (D / 8), d = i % (D / 8) * 8;
                const bool wanted = first + row < tile.len && d < p.head_size;
                copy_16(into + row * ROW + d, wanted ? from + size_t(first + row) * stride + d : from, wanted);
            }
            return;
        }
        for (int i = threadIdx.x; i < KEYS * D; i += THREADS) {
            const int row = i / D, d = i % D;
            const T *values = from + size_t(first + row) * stride;
            float x = 0.0f;
            if (first + row < tile.len && d < p.head_size) {
                if (turn) x = turned(p, values, added, first + row, d);
                else x = to_float(values[d]) + (added ? to_float(added[d]) : 0.0f);
            }
            into[row * ROW + d] = from_float<T>(x);
        }
    }

    static DEVICE void run(const Attention &p) {
        const Tile tile = p.tiles[blockIdx.x];
        const int head = blockIdx.y, column = head * p.head_size;
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        T *keys = reinterpret_cast<T *>(shared_memory()), *values = keys + KEYS * ROW;
        const T *added = static_cast<const T *>(p.added);

        // q + b. What is added to k moves all scores of a query by the same, which softmax does not see, unless keys are turned; what is
        // added to v comes through the average unchanged, and is added in the end.
        load(p, tile, keys, column, tile.first, added ? added + column : nullptr, true);
        copies_end();
        copies_wait<0>();
        barrier();
        uint32_t q[D / 16][4];
#pragma unroll
        for (int k = 0; k < D / 16; k++)
            load_matrices<false>(q[k], keys + (warp * 16 + lane % 16) * ROW + k * 16 + lane / 16 * 8);
        barrier();

        // Of rows warp · 16 + lane / 4 and the eighth after it.
        float sums[D / 8][4] = {}, largest[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};
        const int queries[2] = {tile.first + warp * 16 + lane / 4, tile.first + warp * 16 + lane / 4 + 8};
        const T *added_to_keys = added && p.cosines ? added + p.hidden + column : nullptr;
        int begin, end;
        key_range<KEYS>(p, tile, begin, end);
        load(p, tile, keys, p.hidden + column, begin, added_to_keys, true);
        copies_end();
        for (int first = begin; first < end; first += KEYS) {
            barrier(); // nobody reads the values before
            load(p, tile, values, 2 * p.hidden + column, first, nullptr, false);
            copies_end();
            copies_wait<1>();
            barrier(); // the keys are there

            float scores[KEYS / 8][4];
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
                scores[n][0] = scores[n][1] = scores[n][2] = scores[n][3] = 0.0f;
#pragma unroll
            for (int k = 0; k < D / 16; k++)
#pragma unroll
                for (int n = 0; n < KEYS / 16; n++) {
                    uint32_t both[4]; // of eight keys, and of the eight after them
                    const int row = n * 16 + lane / 16 * 8 + lane % 8;
                    load_matrices<false>(both, keys + row * ROW + k * 16 + lane / 8 % 2 * 8);
                    multiply_add<T>(scores[2 * n], q[k], both[0], both[1]);
                    multiply_add<T>(scores[2 * n + 1], q[k], both[2], both[3]);
                }
            barrier(); // nobody reads the keys
            if (first + KEYS < end) load(p, tile, keys, p.hidden + column, first + KEYS, added_to_keys, true);
            copies_end();

            const bool plain = first + KEYS <= tile.len && !p.mask && !p.distances && p.window < 0;
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int key = first + n * 8 + lane % 4 * 2 + i % 2;
                    if (plain) scores[n][i] *= p.scale * LOG2_E;
                    else scores[n][i] = score(p, tile, head, queries[i / 2], key, scores[n][i]);
                }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float most = largest[half];
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
                    most = fmaxf(most, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
                most = fmaxf(most, shuffle_xor(most, 1));
                most = fmaxf(most, shuffle_xor(most, 2));
                // Without a key so far there is nothing to compare with, and nothing to correct.
                const float base = most == -INFINITY ? 0.0f : most;
                const float correction = exp2f(largest[half] - base);
                largest[half] = most;
                float sum = 0.0f;
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                    for (int i = 2 * half; i < 2 * half + 2; i++) {
                        scores[n][i] = exp2f(scores[n][i] - base);
                        sum += scores[n][i];
                    }
                total[half] = total[half] * correction + sum; // a lane's own share; the lanes of a row add theirs in the end
#pragma unroll
                for (int n = 0; n < D / 8; n++) {
                    sums[n][2 * half] *= correction;
                    sums[n][2 * half + 1] *= correction;
                }
            }
            copies_wait<1>();
            barrier(); // the values are there
#pragma unroll
            for (int k = 0; k < KEYS / 16; k++) {
                // The scores of 16 keys lie as the left side of the next product does.
                const uint32_t weights[4] = {
                    pack<T>(scores[2 * k][0], scores[2 * k][1]), pack<T>(scores[2 * k][2], scores[2 * k][3]),
                    pack<T>(scores[2 * k + 1][0], scores[2 * k + 1][1]), pack<T>(scores[2 * k + 1][2], scores[2 * k + 1][3])};
#pragma unroll
                for (int n = 0; n < D / 16; n++) {
                    uint32_t both[4];
                    const int row = k * 16 + lane / 8 % 2 * 8 + lane % 8;
                    load_matrices<true>(both, values + row * ROW + n * 16 + lane / 16 * 8);
                    multiply_add<T>(sums[2 * n], weights, both[0], both[1]);
                    multiply_add<T>(sums[2 * n + 1], weights, both[2], both[3]);
                }
            }
        }

        T *out = static_cast<T *>(p.out) + size_t(tile.start) * p.hidden + column;
        const T *added_to_values = added ? added + 2 * p.hidden + column : nullptr;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = total[half];
            sum += shuffle_xor(sum, 1);
            sum += shuffle_xor(sum, 2);
            const float share = sum > 0.0f ? 1.0f / sum : 0.0f; // a query that sees nothing has zeros
            if (queries[half] >= tile.len) continue;
            T *row = out + size_t(queries[half]) * p.hidden;
#pragma unroll
            for (int n = 0; n < D / 8; n++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    const int d = n * 8 + lane % 4 * 2 + i;
                    if (d >= p.head_size) continue;
                    float x = sums[n][2 * half + i] * share;
                    if (added_to_values && sum > 0.0f) x += to_float(added_to_values[d]);
                    row[d] = from_float<T>(x);
                }
        }
    }
};

// f32: a thread has 4 queries, with as many keys and then as many places as the 16 threads beside it leave to it.
template <int D> struct Attention32 {
    static constexpr int THREADS = 256;
    static constexpr int KEYS = D == 128 ? 32 : 64;
    static constexpr int WITH = KEYS / 16, PLACES = D / 16;
    static constexpr int QUERY_ROW = QUERIES + 4, KEY_ROW = KEYS + 4, VALUE_ROW = D + 4;
    static constexpr int KEY_ROOM = D * KEY_ROW > KEYS * QUERY_ROW ? D * KEY_ROW : KEYS * QUERY_ROW;
    static constexpr int SHARED = (D * QUERY_ROW + KEY_ROOM + KEYS * VALUE_ROW) * int(sizeof(float));

    static DEVICE float at(const Attention &p, const Tile &tile, int which, int head, int row, int d, bool add) {
        if (row >= tile.len || d >= p.head_size) return 0.0f;
        const int column = which * p.hidden + head * p.head_size;
        const float *values = static_cast<const float *>(p.qkv) + size_t(tile.start + row) * 3 * p.hidden + column;
        const float *added = add && p.added ? static_cast<const float *>(p.added) + column : nullptr;
        return which < 2 ? turned(p, values, added, row, d) : values[d];
    }

    static DEVICE void run(const Attention &p) {
        const Tile tile = p.tiles[blockIdx.x];
        const int head = blockIdx.y, mine = threadIdx.x / 16 * 4, beside = threadIdx.x % 16;
        float *queries = reinterpret_cast<float *>(shared_memory()); // [place][query]
        float *keys = queries + D * QUERY_ROW;                       // [place][key], then the weights [key][query]
        float *values = keys + KEY_ROOM;                             // [key][place]
        for (int i = threadIdx.x; i < QUERIES * D; i += THREADS)
            queries[i % D * QUERY_ROW + i / D] = at(p, tile, 0, head, tile.first + i / D, i % D, true);

        float sums[4][PLACES] = {}, largest[4], total[4];
        for (int i = 0; i < 4; i++) {
            largest[i] = -INFINITY;
            total[i] = 0.0f;
        }
        int begin, end;
        key_range<KEYS>(p, tile, begin, end);
        for (int first = begin; first < end; first += KEYS) {
            barrier(); // nobody reads what was there before
            for (int i = threadIdx.x; i < KEYS * D; i += THREADS) {
                keys[i % D * KEY_ROW + i / D] = at(p, tile, 1, head, first + i / D, i % D, p.cosines != nullptr);
                values[i / D * VALUE_ROW + i % D] = at(p, tile, 2, head, first + i / D, i % D, false);
            }
            barrier();
            float scores[4][WITH] = {};
#pragma unroll 8
            for (int d = 0; d < D; d++) {
                const float4 q = *reinterpret_cast<const float4 *>(queries + d * QUERY_ROW + mine);
                const float left[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
                for (int j = 0; j < WITH; j++) {
                    const float right = keys[d * KEY_ROW + beside * WITH + j];
#pragma unroll
                    for (int i = 0; i < 4; i++) scores[i][j] += left[i] * right;
                }
            }
            barrier(); // nobody reads the keys
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float most = largest[i];
#pragma unroll
                for (int j = 0; j < WITH; j++) {
                    const int key = first + beside * WITH + j;
                    scores[i][j] = score(p, tile, head, tile.first + mine + i, key, scores[i][j]);
                    most = fmaxf(most, scores[i][j]);
                }
                for (int lanes = 1; lanes < 16; lanes *= 2) most = fmaxf(most, shuffle_xor(most, lanes));
                const float base = most == -INFINITY ? 0.0f : most;
                const float correction = exp2f(largest[i] - base);
                largest[i] = most;
                total[i] *= correction;
#pragma unroll
                for (int j = 0; j < WITH; j++) {
                    const float weight = exp2f(scores[i][j] - base);
                    total[i] += weight;
                    keys[(beside * WITH + j) * QUERY_ROW + mine + i] = weight;
                }
#pragma unroll
                for (int j = 0; j < PLACES; j++) sums[i][j] *= correction;
            }
            barrier();
#pragma unroll 8
            for (int key = 0; key < KEYS; key++) {
                const float4 w = *reinterpret_cast<const float4 *>(keys + key * QUERY_ROW + mine);
                const float weights[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
                for (int j = 0; j < PLACES; j++) {
                    const float value = values[key * VALUE_ROW + beside * PLACES + j];
#pragma unroll
                    for (int i = 0; i < 4; i++) sums[i][j] += weights[i] * value;
                }
            }
        }

        const int column = head * p.head_size;
        const float *added = p.added ? static_cast<const float *>(p.added) + 2 * p.hidden + column : nullptr;
        for (int i = 0; i < 4; i++) {
            float sum = total[i];
            for (int lanes = 1; lanes < 16; lanes *= 2) sum += shuffle_xor(sum, lanes);
            const int query = tile.first + mine + i;
            if (query >= tile.len) continue;
            float *row = static_cast<float *>(p.out) + size_t(tile.start + query) * p.hidden + column;
#pragma unroll
            for (int j = 0; j < PLACES; j++) {
                const int d = beside * PLACES + j;
                if (d < p.head_size) row[d] = sum > 0.0f ? sums[i][j] / sum + (added ? added[d] : 0.0f) : 0.0f;
            }
        }
    }
};

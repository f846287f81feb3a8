// Runs the kernels on the host, block by block and thread by thread (kernels/emulator.h), and compares them with the formulas,
// computed naively in f64 from the same rounded inputs. Prints a line a case; exits with 1 if one is wrong.
#include "../kernels/attention.cuh"
#include "../kernels/rows.cuh"

#include <random>
#include <string>

static int failures = 0;
static std::mt19937 random_bits(7);

static void verdict(const std::string &name, double error, double bound) {
    const bool right = error <= bound; // false for NaN
    printf("%s %s: off by %.3g, %.3g allowed\n", right ? "ok  " : "WRONG", name.c_str(), error, bound);
    failures += !right;
}

template <typename T> std::vector<T> normal(size_t count, float scale = 1.0f) {
    std::normal_distribution<float> numbers(0.0f, scale);
    std::vector<T> all(count);
    for (auto &x : all) x = from_float<T>(numbers(random_bits));
    return all;
}

struct Case {
    const char *name;
    int heads, head_size;
    std::vector<int> lengths;
    bool mask = false, added = false, distances = false;
    int window = -1, pairs = 0;
    float scale = 1.0f; // of q and k: large ones make softmax steep
};

// What a kernel is to give.
template <typename T> std::vector<double> expected(const Case &c, const std::vector<T> &qkv, const std::vector<T> &added,
                                                   const std::vector<unsigned char> &mask, const std::vector<float> &distances, int reach,
                                                   const std::vector<float> &cosines, const std::vector<float> &sines) {
    const int hidden = c.heads * c.head_size, size = c.head_size;
    std::vector<double> out(qkv.size() / 3);
    for (int start = 0, text = 0; text < int(c.lengths.size()); start += c.lengths[text++]) {
        const int len = c.lengths[text];
        for (int head = 0; head < c.heads; head++) {
            const auto vector = [&](int which, int row) {
                std::vector<double> x(size), y;
                for (int d = 0; d < size; d++) {
                    const int column = which * hidden + head * size + d;
                    x[d] = to_float(qkv[size_t(start + row) * 3 * hidden + column]);
                    if (c.added) x[d] += to_float(added[column]);
                }
                y = x;
                for (int pair = 0; which < 2 && pair < c.pairs; pair++) {
                    const double cosine = cosines[row * c.pairs + pair], sine = sines[row * c.pairs + pair];
                    y[pair] = x[pair] * cosine - x[pair + c.pairs] * sine;
                    y[pair + c.pairs] = x[pair + c.pairs] * cosine + x[pair] * sine;
                }
                return y;
            };
            std::vector<std::vector<double>> keys, values;
            for (int row = 0; row < len; row++) keys.push_back(vector(1, row)), values.push_back(vector(2, row));
            for (int query = 0; query < len; query++) {
                const auto q = vector(0, query);
                std::vector<double> scores(len, -INFINITY);
                double most = -INFINITY, total = 0.0;
                for (int key = 0; key < len; key++) {
                    if (c.mask && !mask[start + key]) continue;
                    if (c.window >= 0 && std::abs(key - query) > c.window) continue;
                    double sum = 0.0;
                    for (int d = 0; d < size; d++) sum += q[d] * keys[key][d];
                    scores[key] = sum / std::sqrt(double(size));
                    if (c.distances)
                        scores[key] += distances[head * (2 * reach + 1) + std::min(std::max(key - query, -reach), reach) + reach];
                    most = std::max(most, scores[key]);
                }
                double *row = &out[size_t(start + query) * hidden + head * size];
                for (int key = 0; key < len; key++) {
                    if (scores[key] == -INFINITY) continue;
                    const double weight = std::exp(scores[key] - most);
                    total += weight;
                    for (int d = 0; d < size; d++) row[d] += weight * values[key][d];
                }
                for (int d = 0; d < size && total > 0.0; d++) row[d] /= total;
            }
        }
    }
    return out;
}

template <typename T, typename Kernel> void attention(const char *type, int room, const Case &c, double bound) {
    const int hidden = c.heads * c.head_size, reach = 20;
    int rows = 0, longest = 0;
    std::vector<Tile> tiles;
    for (int len : c.lengths) {
        for (int first = 0; first < len; first += QUERIES) tiles.push_back({rows, len, first, 0});
        rows += len;
        longest = std::max(longest, len);
    }
    auto qkv = normal<T>(size_t(rows) * 3 * hidden, c.scale);
    const auto added = normal<T>(3 * hidden);
    std::vector<unsigned char> mask(rows);
    for (auto &seen : mask) seen = random_bits() % 4 != 0;
    for (int row = 0; row < c.lengths[0]; row++) mask[row] = 0; // a text of which nothing is seen
    const auto distances = normal<float>(c.heads * (2 * reach + 1));
    std::vector<float> cosines, sines;
    for (int position = 0; position < longest; position++)
        for (int pair = 0; pair < c.pairs; pair++) {
            const double angle = position * std::pow(100.0, -double(pair) / c.pairs);
            cosines.push_back(float(std::cos(angle)));
            sines.push_back(float(std::sin(angle)));
        }
    const auto wanted = expected(c, qkv, added, mask, distances, reach, cosines, sines);
    std::vector<T> out(size_t(rows) * hidden, from_float<T>(NAN));
    const Attention p = {qkv.data(), out.data(), tiles.data(), c.mask ? mask.data() : nullptr, c.added ? added.data() : nullptr,
                         c.distances ? distances.data() : nullptr, c.pairs ? cosines.data() : nullptr, c.pairs ? sines.data() : nullptr,
                         hidden, c.head_size, reach, c.window, c.pairs, 1.0f / std::sqrt(float(c.head_size))};
    launch({unsigned(tiles.size()), unsigned(c.heads), 1}, Kernel::THREADS, Kernel::SHARED, [&] { Kernel::run(p); });
    double error = 0.0;
    for (size_t i = 0; i < out.size(); i++) {
        const double off = std::fabs(to_float(out[i]) - wanted[i]) / std::max(1.0, std::fabs(wanted[i]));
        error = off <= error ? error : off; // keeps NaN
    }
    verdict(std::string("attention ") + type + " " + std::to_string(room) + " " + c.name, error, bound);
}

template <int D> void attentions(const Case &c) {
    attention<float, Attention32<D>>("f32", D, c, 4e-6 * c.scale * c.scale);
    // Turned keys are rounded once more.
    attention<f16, Attention16<f16, D>>("f16", D, c, (c.pairs ? 4e-3 : 2e-3) * c.scale);
    attention<bf16, Attention16<bf16, D>>("bf16", D, c, (c.pairs ? 3e-2 : 1.6e-2) * c.scale);
}

static double gelu(double x) { return x * (1.0 + std::erf(x / std::sqrt(2.0))) / 2.0; }

template <typename T, int N> void activates(const char *type, double bound) {
    const int rows = 9, width = 20;
    for (int gated = 0; gated < 2; gated++) {
        const int wide = width * (1 + gated);
        const auto x = normal<T>(rows * wide, 2.0f), bias = normal<T>(wide);
        for (int activation = IDENTITY; activation <= TANH; activation++) {
            std::vector<T> out(rows * width);
            const Activate p = {x.data(), bias.data(), out.data(), rows, width, activation, gated};
            launch({2, 1, 1}, 96, 0, [&] { activate<T, N>(p); });
            double error = 0.0;
            for (int row = 0; row < rows; row++)
                for (int c = 0; c < width; c++) {
                    const double sum = to_float(x[row * wide + c]) + double(to_float(bias[c]));
                    const double functions[] = {sum, gelu(sum), sum * (1 + std::tanh(std::sqrt(2 / M_PI) * (sum + 0.044715 * sum * sum * sum))) / 2,
                                                sum / (1 + std::exp(-1.702 * sum)), std::max(sum, 0.0), sum / (1 + std::exp(-sum)), std::tanh(sum)};
                    double wanted = functions[activation];
                    if (gated) wanted *= to_float(x[row * wide + width + c]) + double(to_float(bias[width + c]));
                    const double off = std::fabs(to_float(out[row * width + c]) - wanted) / std::max(1.0, std::fabs(wanted));
                    error = off <= error ? error : off;
                }
            verdict(std::string("activation ") + std::to_string(activation) + (gated ? " gated " : " ") + type + " by " + std::to_string(N), error, bound);
        }
    }
}

template <typename T, int N> void norms(const char *type, int width, double bound) {
    const unsigned rows = 3;
    const auto x = normal<T>(rows * width), bias = normal<T>(width), table = normal<T>(5 * width), other = normal<T>(7 * width);
    const auto residual = normal<float>(rows * width, 3.0f), weight = normal<float>(width), offset = normal<float>(width);
    const unsigned ids[3] = {4, 0, 2}, more[3] = {1, 6, 3};
    for (int which = 0; which < 3; which++) { // add and norm; embeddings and norm; add only
        std::vector<float> wide(rows * width);
        std::vector<T> narrow(rows * width);
        Norm p = {};
        if (which != 1) p.x = x.data(), p.bias = bias.data(), p.residual = residual.data();
        else p.tables[0] = table.data(), p.ids[0] = ids, p.tables[1] = other.data(), p.ids[1] = more;
        if (which != 2) p.weight = weight.data(), p.offset = offset.data();
        p.wide = wide.data(), p.narrow = narrow.data(), p.width = width, p.eps = 1e-5f;
        launch({rows, 1, 1}, 64, (32 + width) * sizeof(float), [&] { norm<T, N>(p); });
        double error = 0.0, rounding = 0.0;
        for (unsigned row = 0; row < rows; row++) {
            std::vector<double> sums(width);
            double mean = 0.0, variance = 0.0;
            for (int c = 0; c < width; c++) {
                const int at = int(row) * width + c;
                sums[c] = which == 1 ? double(to_float(table[ids[row] * width + c])) + to_float(other[more[row] * width + c])
                                     : double(to_float(x[at])) + to_float(bias[c]) + residual[at];
                mean += sums[c] / width;
            }
            for (double sum : sums) variance += (sum - mean) * (sum - mean) / width;
            for (int c = 0; c < width; c++) {
                const int at = int(row) * width + c;
                const double wanted = which == 2 ? sums[c] : (sums[c] - mean) / std::sqrt(variance + 1e-5) * weight[c] + offset[c];
                error = std::max(error, std::fabs(wide[at] - wanted));
                rounding = std::max(rounding, std::fabs(to_float(narrow[at]) - wanted) / std::max(1.0, std::fabs(wanted)));
            }
        }
        const auto name = std::string("norm ") + std::to_string(which) + " " + type + " of " + std::to_string(width) + " by " + std::to_string(N);
        verdict(name, error, 1e-5);
        verdict(name + ", rounded", rounding, bound);
    }
}

static void folds() {
    const int width = 100;
    const auto x = normal<float>(6 * width);
    const unsigned ends[] = {2, 3, 6}, rows[] = {5, 0, 3, 1, 2, 5};
    const float weights[] = {0.5f, 0.25f, 1.0f, -1.0f, 2.0f, 0.125f};
    for (int largest = 0; largest < 2; largest++) {
        std::vector<float> out(3 * width);
        const Fold p = {x.data(), ends, rows, weights, out.data(), width, largest};
        launch({3, 1, 1}, 64, 0, [&] { fold(p); });
        double error = 0.0;
        for (int target = 0, term = 0; target < 3; term = int(ends[target++]))
            for (int c = 0; c < width; c++) {
                double wanted = largest ? -INFINITY : 0.0;
                for (unsigned t = unsigned(term); t < ends[target]; t++) {
                    const double value = x[rows[t] * width + c];
                    wanted = largest ? std::max(wanted, value) : wanted + weights[t] * value;
                }
                error = std::max(error, std::fabs(out[target * width + c] - wanted));
            }
        verdict(largest ? "fold, the largest" : "fold, the sum", error, largest ? 0.0 : 1e-6);
    }
}

int main() {
    attentions<64>({"BERT's", 2, 64, {128, 1, 65}});
    attentions<64>({"masked", 2, 64, {70, 130, 3}, true});
    attentions<64>({"with a bias", 1, 64, {3, 150}, false, true});
    attentions<64>({"masked with a bias", 1, 64, {3, 100}, true, true});
    attentions<64>({"distances", 2, 64, {3, 90}, false, false, true});
    attentions<64>({"a window", 1, 64, {3, 300}, false, false, false, 16});
    attentions<64>({"turned", 1, 64, {3, 140}, false, true, false, -1, 32});
    attentions<64>({"partly turned, in a window, masked", 1, 64, {5, 200}, true, false, false, 70, 8});
    attentions<64>({"steep", 1, 64, {100}, false, false, false, -1, 0, 3.0f});
    attentions<32>({"MiniLM's", 3, 32, {7, 129}});
    attentions<32>({"a small head", 4, 8, {40, 70}, true, true});
    attentions<32>({"an odd head", 3, 7, {66, 12}, false, true});
    attentions<32>({"an odd head, turned", 2, 14, {66, 12}, false, false, false, -1, 7});
    attentions<64>({"a head of 40", 2, 40, {66, 12}});
    attentions<128>({"large heads", 1, 128, {130, 33}, true, true});
    attentions<128>({"large heads, turned", 1, 128, {3, 80}, false, false, true, -1, 64});
    attentions<128>({"a head of 96", 1, 96, {3, 80}});
    activates<float, 4>("f32", 1e-6);
    activates<float, 1>("f32", 1e-6);
    activates<f16, 4>("f16", 1e-3);
    activates<bf16, 4>("bf16", 8e-3);
    norms<float, 4>("f32", 768, 1e-5);
    norms<float, 1>("f32", 51, 1e-5);
    norms<f16, 4>("f16", 384, 1e-3);
    norms<bf16, 1>("bf16", 13, 8e-3);
    folds();
    printf("%d wrong\n", failures);
    return failures != 0;
}

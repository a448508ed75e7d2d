// Sums of fp32 numbers with signs of one bit each: y[m][i] = sum_j s[i][j] * p[m][j], s = +1 or -1.
//
// The signs stay packed: a row of k weights is ceil(k/8) bytes, least significant bit first, 1 = +1.
// No weight is ever widened to a number: a bit selects whether p[j] is added (AVX-512, AVX2; the
// sum over the ones is then doubled and the sum over all taken off), or four bits select one of the
// 16 signed sums of four numbers, made once for all rows (any processor).
//
// The order of a row's sum depends on the path and on k alone, not on threads or other rows.

#include <cstdint>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

enum Path { TABLES = 0, AVX2 = 1, AVX512 = 2 };

struct Job {
    const uint8_t* signs;
    int64_t row_bytes;
    const float* p;       // zeros beyond k, up to a multiple of 16
    const float* tables;  // TABLES: 16 sums for each nibble of a row
    float total;          // AVX2, AVX512: the sum of p
    float* y;
};

// Each path sums rows [first, last) of one vector.

void rows_tables(const Job& job, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
        const uint8_t* row = job.signs + i * job.row_bytes;
        float sum[4] = {};  // several, because each addition waits for the one before it
        const float* table = job.tables;
        int64_t b = 0;
        for (; b + 2 <= job.row_bytes; b += 2, table += 64) {
            sum[0] += table[row[b] & 15];
            sum[1] += table[16 + (row[b] >> 4)];
            sum[2] += table[32 + (row[b + 1] & 15)];
            sum[3] += table[48 + (row[b + 1] >> 4)];
        }
        if (b < job.row_bytes) {
            sum[0] += table[row[b] & 15];
            sum[1] += table[16 + (row[b] >> 4)];
        }
        job.y[i] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) float sum8(__m256 v) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

__attribute__((target("avx2"))) void rows_avx2(const Job& job, int64_t first, int64_t last) {
    // Brings bit i of a byte to the sign of lane i, which blendv looks at.
    const __m256i to_sign = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
    const __m256 zero = _mm256_setzero_ps();
    for (int64_t i = first; i < last; ++i) {
        const uint8_t* row = job.signs + i * job.row_bytes;
        __m256 sum[4] = {zero, zero, zero, zero};
        int64_t b = 0;
        for (; b + 4 <= job.row_bytes; b += 4) {
            for (int u = 0; u < 4; ++u) {
                __m256i bits = _mm256_sllv_epi32(_mm256_set1_epi32(row[b + u]), to_sign);
                __m256 p = _mm256_loadu_ps(job.p + 8 * (b + u));
                p = _mm256_blendv_ps(zero, p, _mm256_castsi256_ps(bits));
                sum[u] = _mm256_add_ps(sum[u], p);
            }
        }
        for (; b < job.row_bytes; ++b) {
            __m256i bits = _mm256_sllv_epi32(_mm256_set1_epi32(row[b]), to_sign);
            __m256 p = _mm256_loadu_ps(job.p + 8 * b);
            sum[0] = _mm256_add_ps(sum[0], _mm256_blendv_ps(zero, p, _mm256_castsi256_ps(bits)));
        }
        __m256 all = _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
        job.y[i] = 2 * sum8(all) - job.total;
    }
}

template <int ROWS>
__attribute__((target("avx512f"))) void block_avx512(const Job& job, int64_t first) {
    const uint8_t* row = job.signs + first * job.row_bytes;
    __m512 even[ROWS], odd[ROWS];
    for (int r = 0; r < ROWS; ++r) even[r] = odd[r] = _mm512_setzero_ps();
    int64_t b = 0;
    for (; b + 4 <= job.row_bytes; b += 4) {
        const __m512 p0 = _mm512_loadu_ps(job.p + 8 * b);
        const __m512 p1 = _mm512_loadu_ps(job.p + 8 * b + 16);
        for (int r = 0; r < ROWS; ++r) {
            uint16_t bits[2];
            std::memcpy(bits, row + r * job.row_bytes + b, 4);
            even[r] = _mm512_mask_add_ps(even[r], bits[0], even[r], p0);
            odd[r] = _mm512_mask_add_ps(odd[r], bits[1], odd[r], p1);
        }
    }
    for (; b < job.row_bytes; b += 2) {
        const __m512 p = _mm512_loadu_ps(job.p + 8 * b);
        for (int r = 0; r < ROWS; ++r) {
            uint16_t bits = 0;
            std::memcpy(&bits, row + r * job.row_bytes + b, b + 1 < job.row_bytes ? 2 : 1);
            even[r] = _mm512_mask_add_ps(even[r], bits, even[r], p);
        }
    }
    for (int r = 0; r < ROWS; ++r) {
        job.y[first + r] = 2 * _mm512_reduce_add_ps(_mm512_add_ps(even[r], odd[r])) - job.total;
    }
}

__attribute__((target("avx512f"))) void rows_avx512(const Job& job, int64_t first, int64_t last) {
    for (; first + 8 <= last; first += 8) block_avx512<8>(job, first);
    for (; first < last; ++first) block_avx512<1>(job, first);
}

#endif

void rows(Path path, const Job& job, int64_t first, int64_t last) {
#if defined(__x86_64__)
    if (path == AVX512) return rows_avx512(job, first, last);
    if (path == AVX2) return rows_avx2(job, first, last);
#endif
    rows_tables(job, first, last);
}

}  // namespace

// Returns the fastest path of this processor.
extern "C" int signed_sum_path() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return AVX512;
    if (__builtin_cpu_supports("avx2")) return AVX2;
#endif
    return TABLES;
}

// signs [n][ceil(k/8)], p [m][k], y [m][n]; all contiguous. The path must be one of the processor's.
extern "C" void signed_sum(const uint8_t* signs, int64_t n, int64_t k, const float* p, int64_t m,
                           float* y, int threads, int path) {
    const int64_t row_bytes = (k + 7) / 8;
    std::vector<float> padded((k + 15) / 16 * 16);
    std::vector<float> tables(path == TABLES ? row_bytes * 32 : 0);
    for (int64_t v = 0; v < m; ++v) {
        std::memcpy(padded.data(), p + v * k, k * sizeof(float));
        Job job{signs, row_bytes, padded.data(), tables.data(), 0, y + v * n};
        if (path == TABLES) {
            for (int64_t g = 0; g < 2 * row_bytes; ++g) {
                const float* four = padded.data() + 4 * g;
                for (int bits = 0; bits < 16; ++bits) {
                    const float low = (bits & 1 ? four[0] : -four[0]) + (bits & 2 ? four[1] : -four[1]);
                    const float high = (bits & 4 ? four[2] : -four[2]) + (bits & 8 ? four[3] : -four[3]);
                    tables[16 * g + bits] = low + high;
                }
            }
        } else {
            float part[16] = {};
            for (size_t j = 0; j < padded.size(); ++j) part[j % 16] += padded[j];
            for (float x : part) job.total += x;
        }
        std::vector<std::thread> others;
        const int64_t share = (n + threads - 1) / threads;
        for (int64_t first = share; first < n; first += share) {
            const int64_t last = first + share < n ? first + share : n;
            auto work = [=, &job] { rows(static_cast<Path>(path), job, first, last); };
            try {
                others.emplace_back(work);
            } catch (const std::system_error&) {  // no thread to be had
                work();
            }
        }
        rows(static_cast<Path>(path), job, 0, share < n ? share : n);
        for (std::thread& other : others) other.join();
    }
}

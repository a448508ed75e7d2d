// Vectors to bit planes, and counts of ones back to sums: what the 1-bit kernels for few vectors share.
// Activations are quantized as the contract says (docs/contract.md: PLANES-bit integers, one
// power-of-two unit per vector). Behind bitplane.cuh. Macros: PLANES 8 or 16; LEAN 1 for the same in fewer
// instructions (docs/design/0019).
//
// A Team of threads prepares a vector: Team::THREADS of them, Team::thread() and Team::sync().

#ifndef LEAN
#define LEAN 0
#endif

#define PARTS (PLANES / 4)  // 32-bit registers of a lane's B operands in one step of 256 inputs

struct alignas(4 * PARTS) Columns { u32 r[PARTS]; };

struct Scratch {  // by warp of a team
    float square[16], shift[16], top[16];
    int total[16];
};

struct Vector {   // what belongs to the bit planes of a vector
    int unit;     // exponent of one unit of q
    float shift;  // beta * x
    int total;    // sum of q of this thread's inputs
};

INSIDE float add_lanes(float v) {
    for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(~0u, v, d);
    return v;
}

INSIDE float max_lanes(float v) {
    for (int d = 16; d; d >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, d));
    return v;
}

#define ROUNDER 12582912.0f  // 1.5 * 2^23

// To the nearest integer, ties to even, for |v| < 2^22: adding the rounder leaves it in the low bits. The
// conversion would run at an eighth of the rate.
INSIDE int round_to_int(float v) { return __float_as_int(v + ROUNDER) - 0x4b400000; }

// 16 consecutive binary16 numbers at an address that is a multiple of 32 bytes
struct Sixteen {
    uint4 low, high;
    INSIDE float operator[](int i) const {
        const uint4 &part = i < 8 ? low : high;
        const int j = (i & 7) >> 1;
        const u32 pair = j == 0 ? part.x : j == 1 ? part.y : j == 2 ? part.z : part.w;
        return widen((u16)((i & 1) ? pair >> 16 : pair & 0xffff));
    }
};

// Constants may come early and through the read-only cache; what kernels wrote comes from L2.
INSIDE Sixteen load_constant(const u16 *from) {
    const uint4 *p = (const uint4 *)from;
    return Sixteen{__ldg(p), __ldg(p + 1)};
}

INSIDE Sixteen load_written(const u16 *from) {
    const uint4 *p = (const uint4 *)from;
    return Sixteen{__ldcg(p), __ldcg(p + 1)};
}

// A team takes SIZE inputs 16 at a time, in rounds.
template <int SIZE, class Team> struct Rounds {
    static constexpr int CHUNKS = SIZE / 16;
    static constexpr int COUNT = (CHUNKS + Team::THREADS - 1) / Team::THREADS;
    static INSIDE int chunk(int round) { return round * Team::THREADS + Team::thread(); }
    static INSIDE int input(int round) { return chunk(round) < CHUNKS ? chunk(round) * 16 : 0; }
};

// Gain and scales of a thread's inputs in one round.
struct Constants {
    Sixteen gain, alpha, beta;
};

template <bool NORM, int SIZE, class Team>
INSIDE Constants load_constants(const u16 *gain, const u16 *alpha, const u16 *beta, int round) {
    const int k = Rounds<SIZE, Team>::input(round);
    Constants c;
    if (NORM) c.gain = load_constant(gain + k);
    c.alpha = load_constant(alpha + k);
    c.beta = load_constant(beta + k);
    return c;
}

INSIDE float silu_times(float gate, float up) {
    return widen(narrow(__fdividef(gate, 1.0f + __expf(-gate)) * up));
}

// One stage of the transposition: blocks of D rows and bits change places. A template, since a loop over
// stages was left as a loop in a large kernel, with the rows in local memory.
template <int D> INSIDE void exchange(u32 (&row)[8]) {
    constexpr u32 mask = D == 4 ? 0x0f0f0f0fu : D == 2 ? 0x33333333u : 0x55555555u;
#pragma unroll
    for (int j = 0; j < 8; j++) {
        if (!(j & D)) {
            if (LEAN) {  // two instructions a row, where the other form takes five for two rows
                const u32 low = row[j], high = row[j + D];
                row[j] = select_bits<mask << D>(high << D, low);
                row[j + D] = select_bits<mask>(low >> D, high);
                continue;
            }
            const u32 t = ((row[j] >> D) ^ row[j + D]) & mask;
            row[j + D] ^= t;
            row[j] ^= t << D;
        }
    }
}

// Transposes 16 numbers of 16 bits: row[j] holds number j below and j + 8 above; afterwards plane j
// below and plane j + 8 above, number i in bit i (Warren, Hacker's Delight, 7-3).
INSIDE void transpose(u32 (&row)[8]) {
#pragma unroll
    for (int j = 0; j < 8 && !LEAN; j++) row[j] = __byte_perm(row[j], 0, 0x3120);
    exchange<4>(row);
    exchange<2>(row);
    exchange<1>(row);
}

// Takes a thread's inputs, input(value, k) 16 at a time; returns the sum of their squares.
template <int SIZE, class Team, class Input>
INSIDE float read_inputs(float (&value)[Rounds<SIZE, Team>::COUNT][16], const Input &input) {
    float square = 0.0f;
#pragma unroll
    for (int r = 0; r < Rounds<SIZE, Team>::COUNT; r++) {
        const bool inside = Rounds<SIZE, Team>::chunk(r) < Rounds<SIZE, Team>::CHUNKS;
        input(value[r], Rounds<SIZE, Team>::input(r));
#pragma unroll
        for (int i = 0; i < 16; i++) {
            if (!inside) value[r][i] = 0.0f;
            square += value[r][i] * value[r][i];
        }
    }
    return square;
}

// 1 / sqrt(mean square + eps) of a team's vector.
template <int SIZE, class Team>
INSIDE float norm_factor(float square, float eps, Scratch &scratch) {
    square = add_lanes(square);
    if ((Team::thread() & 31) == 0) scratch.square[Team::thread() >> 5] = square;
    Team::sync();
    square = 0.0f;
#pragma unroll
    for (int w = 0; w < Team::THREADS / 32; w++) square += scratch.square[w];
    return rsqrtf(square / SIZE + eps);
}

// Norm if asked for, then alpha; adds to beta * x and to the largest product.
template <bool NORM>
INSIDE void fold(float (&value)[16], const Constants &c, float factor, float &shift, float &top) {
#pragma unroll
    for (int i = 0; i < 16; i++) {
        if (NORM) value[i] = widen(narrow(value[i] * factor * c.gain[i]));
        shift += value[i] * c.beta[i];
        value[i] *= c.alpha[i];  // exact: 11 by 11 bits
        top = fmaxf(top, fabsf(value[i]));
    }
}

// The unit brings the largest product to PLANES - 1 bits, and is 2^-48 or more.
INSIDE int unit_of(float top) {
    int unit = -48;
    if (top > 0.0f) unit = max((int)(__float_as_uint(top) >> 23) - 127 - (PLANES - 2), -48);
    return unit;
}

// Where a lane finds its columns of a step. LEAN: odd steps have pairs of planes exchanged, so that what a
// warp writes of one plane, of two steps, lies in banks of its own.
INSIDE int columns_at(int step, int lane) {
    return step * 32 + (LEAN ? lane ^ 4 * (step & 1) : lane);
}

// Writes a thread's planes, 16 bits each, of part h of lanes t of a step: at constant distances from two
// places, of even and of odd planes.
INSIDE void store_lean(const u32 (&row)[8], u16 *planes, int step, int h, int t, int half) {
    constexpr int LANE = 4 * PARTS / 2;  // 16-bit words of a lane's columns
    const int in = 2 * h + half;
    u16 *even = planes + computed_here(columns_at(step, t) * LANE + in);
    u16 *odd = planes + computed_here(columns_at(step, 4 + t) * LANE + in);
#pragma unroll
    for (int p = 0; p < PLANES; p++) {
        u16 *at = (p & 1 ? odd : even) + (p & 6) * 4 * LANE + (p >> 3) * 4;
        *at = (u16)(p < 8 ? row[p] : row[p - 8] >> 16);
    }
}

// Quantizes and packs 16 values for transpose, ahead of its exchanges; `edge` says that the largest value is
// rounded to one more than there is. Adds to the sum of integers.
INSIDE void pack_lean(
    u32 (&row)[8], float (&value)[16], float inverse, float most, bool edge, int &total) {
    if (edge) {
#pragma unroll
        for (int i = 0; i < 16; i++) value[i] = fminf(fmaxf(value[i], -most), most);
    }
    u32 sum = 0u - 16u * 0x4b400000u;  // whose lower half is 0: packing needs no difference
#pragma unroll
    for (int j = 0; j < 8; j++) {
        const u32 low = __float_as_uint(value[j] * inverse + ROUNDER);
        const u32 high = __float_as_uint(value[j + 8] * inverse + ROUNDER);
        sum += low + high;
        row[j] = __byte_perm(low, high, 0x5140);
    }
    total += (int)sum;
}

// Quantizes and writes bit planes: plane p is column p % 8 of operand p / 8; word t + 4 h of a step is
// register h of lane 4 (p % 8) + t. `top` is the largest value of the vector. Returns the sum of this
// thread's integers.
template <int SIZE, class Team>
INSIDE int write_planes(
    float (&value)[Rounds<SIZE, Team>::COUNT][16], int unit, float top, u16 *planes) {
    const float inverse = __uint_as_float((u32)(127 - unit) << 23);
    const int limit = (1 << (PLANES - 1)) - 1;
    const bool edge = LEAN && round_to_int(top * inverse) > limit;
    int total = 0;
#pragma unroll
    for (int r = 0; r < Rounds<SIZE, Team>::COUNT; r++) {
        if (Rounds<SIZE, Team>::chunk(r) >= Rounds<SIZE, Team>::CHUNKS) continue;  // mostly whole warps
        u32 row[8];
        if (LEAN)
            pack_lean(row, value[r], inverse, limit * __uint_as_float((u32)(127 + unit) << 23), edge,
                      total);
#pragma unroll
        for (int j = 0; j < 8 && !LEAN; j++) {
            const int low = min(max(round_to_int(value[r][j] * inverse), -limit), limit);
            const int high = min(max(round_to_int(value[r][j + 8] * inverse), -limit), limit);
            total += low + high;
            row[j] = __byte_perm((u32)low, (u32)high, 0x5410);
        }
        transpose(row);
        const int chunk = Rounds<SIZE, Team>::chunk(r), word = chunk >> 1;
        const int step = word >> 3, h = (word >> 2) & 1, t = word & 3;
        if (LEAN) store_lean(row, planes, step, h, t, chunk & 1);
#pragma unroll
        for (int p = 0; p < PLANES && !LEAN; p++) {
            const int place = (step * 32 + (p & 7) * 4 + t) * PARTS + (p >> 3) * 2 + h;
            planes[2 * place + (chunk & 1)] = (u16)(p < 8 ? row[p] : row[p - 8] >> 16);
        }
    }
    return total;
}

// One vector to bit planes by a team: input(value, k) gives 16 inputs from k on, constants(round)
// gain and scales. The caller synchronizes before the planes are read.
template <bool NORM, int SIZE, class Team, class Input, class Fetch>
INSIDE Vector quantize(
    const Input &input, const Fetch &constants, u16 *planes, float eps, Scratch &scratch) {
    const int lane = Team::thread() & 31, warp = Team::thread() >> 5;
    float value[Rounds<SIZE, Team>::COUNT][16];
    const float square = read_inputs<SIZE, Team>(value, input);
    const float factor = NORM ? norm_factor<SIZE, Team>(square, eps, scratch) : 1.0f;
    float shift = 0.0f, top = 0.0f;
#pragma unroll
    for (int r = 0; r < Rounds<SIZE, Team>::COUNT; r++)
        fold<NORM>(value[r], constants(r), factor, shift, top);
    if (LEAN) {  // beta * x is not needed before the end: result_shift
        top = __uint_as_float(__reduce_max_sync(~0u, __float_as_uint(top)));
    } else {
        shift = add_lanes(shift);
        top = max_lanes(top);
    }
    if (lane == 0) {
        if (!LEAN) scratch.shift[warp] = shift;
        scratch.top[warp] = top;
    }
    Team::sync();
    if (!LEAN) shift = 0.0f;
#pragma unroll
    for (int w = 0; w < Team::THREADS / 32; w++) {
        if (!LEAN) shift += scratch.shift[w];
        top = fmaxf(top, scratch.top[w]);
    }
    const int unit = unit_of(top);
    const int total = write_planes<SIZE, Team>(value, unit, top, planes);
    if (LEAN) {
        shift = add_lanes(shift);
        if (lane == 0) scratch.shift[warp] = shift;
    }
    return Vector{unit, shift, total};
}

// beta * x of a team's vector, of what its warps left; LEAN alone.
template <class Team> INSIDE float result_shift(const Scratch &scratch) {
    float shift = 0.0f;
#pragma unroll
    for (int w = 0; w < Team::THREADS / 32; w++) shift += scratch.shift[w];
    return shift;
}

// A row's counts in this lane to their sum: planes 8 h + 2 t and the next.
INSIDE int weigh_lean(const int (&ones)[PLANES / 8][4], int row) {
    const int t = threadIdx.x & 3, last = t == 3 ? -2 : 2;  // the top plane is negative
    int sum = ones[PLANES / 8 - 1][2 * row] + last * ones[PLANES / 8 - 1][2 * row + 1];
    if (PLANES == 16) sum = 256 * sum + (ones[0][2 * row] + 2 * ones[0][2 * row + 1]);
    return sum << 2 * t;
}

// Counts of a tile's 16 rows by plane to sums over planes, to partial[16]; by the lanes of a warp.
INSIDE void weigh_planes(const int (&ones)[PLANES / 8][4], int *partial) {
    const int lane = threadIdx.x & 31, t = lane & 3;
    if (LEAN) {  // even lanes go on with one row, odd ones with the other
        const int here = weigh_lean(ones, 0), there = weigh_lean(ones, 1);
        int sum = (t & 1 ? there : here) + __shfl_xor_sync(~0u, t & 1 ? here : there, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        if (t < 2) partial[(lane >> 2) + 8 * t] = sum;
        return;
    }
    int low = 0, high = 0;  // rows g and g + 8
#pragma unroll
    for (int h = 0; h < PLANES / 8; h++) {
        const int p = 8 * h + 2 * t;
        const int odd = (p + 1 == PLANES - 1) ? -1 : 1;
        low += (ones[h][0] << p) + odd * (ones[h][1] << (p + 1));
        high += (ones[h][2] << p) + odd * (ones[h][3] << (p + 1));
    }
    for (int d = 1; d < 4; d <<= 1) {
        low += __shfl_xor_sync(~0u, low, d);
        high += __shfl_xor_sync(~0u, high, d);
    }
    if (t == 0) {
        partial[lane >> 2] = low;
        partial[(lane >> 2) + 8] = high;
    }
}

// 2^unit * (2 sum - total) + shift
INSIDE float result_of(int sum, int total, int unit, float shift) {
    return (float)(2 * sum - total) * __uint_as_float((u32)(127 + unit) << 23) + shift;
}

// A result plus what is there, each rounded as golden does.
INSIDE u16 add_rounded(float result, u16 there) {
    return narrow(widen(narrow(result)) + widen(there));
}

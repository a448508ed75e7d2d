// Instructions of the 1-bit kernels for few vectors (PTX ISA), a function each: binary16, and the binary
// matrix product. Compiled by NVRTC ahead of planes.cuh, without headers;
// tests/signacc/baseline/grid.hpp does the same on a CPU.

typedef unsigned short u16;
typedef unsigned int u32;

#ifndef INSIDE
#define INSIDE __device__ __forceinline__
#endif

// The same number; what depends on it is computed here, not ahead of a loop, where it would keep registers.
INSIDE int computed_here(int value) {
    asm volatile("" : "+r"(value));
    return value;
}

INSIDE float widen(u16 h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}

INSIDE u16 narrow(float f) {
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}

// Bits of a where MASK has 1, and of b elsewhere, in one instruction: the compiler takes two, as the mask and
// its complement are two constants to it.
template <u32 MASK> INSIDE u32 select_bits(u32 a, u32 b) {
    u32 both;
    asm("lop3.b32 %0, %1, %2, %3, 0xe2;" : "=r"(both) : "r"(a), "n"(MASK), "r"(b));
    return both;
}

INSIDE void fetch_line(const void *from) {  // 128 bytes to the second-level cache
    asm volatile("prefetch.global.L2 [%0];" ::"l"(from));
}

// Adds ones in common of 16 rows and 8 columns of 256 bits; a in the order of packing.tile_order.
INSIDE void count_ones(int *c, const uint4 &a, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

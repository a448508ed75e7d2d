// What the kernels here need of Hopper's instruction set, a function each (PTX ISA): threads, barriers and
// copies; the matrix instruction is in wgmma.cuh. Compiled by NVRTC ahead of a kernel's text, without
// headers; tests/signacc/baseline does the same on a CPU (hopper.hpp, grid.hpp).

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define KERNEL extern "C" __global__ void
#define INSIDE __device__ __forceinline__

struct alignas(64) TensorMap {
    u64 opaque[16];
};

// ---- threads and shared memory ----

// A number that is the same in all threads of a warp, which the compiler cannot know.
INSIDE int uniform(int value) { return __shfl_sync(~0u, value, 0); }

INSIDE u32 clock_now() {  // cycles of this processor
    u32 cycles;
    asm volatile("mov.u32 %0, %%clock;" : "=r"(cycles)::"memory");
    return cycles;
}

INSIDE u32 shared_start() {
    extern __shared__ unsigned char dynamic[];
    return (u32)__cvta_generic_to_shared(dynamic);
}

INSIDE u32 shared_address(const void *pointer) { return (u32)__cvta_generic_to_shared(pointer); }

INSIDE void *shared_pointer(u32 address) { return __cvta_shared_to_generic(address); }

INSIDE void block_sync() { __syncthreads(); }

template <int THREADS_OF> INSIDE void named_sync() {
    asm volatile("bar.sync 1, %0;" ::"n"(THREADS_OF) : "memory");
}

// Some of a block's threads, by a barrier of their own (1 to 15).
template <int THREADS_OF> INSIDE void team_sync(int barrier) {
    asm volatile("bar.sync %0, %1;" ::"r"(barrier), "n"(THREADS_OF) : "memory");
}

// The whole grid, of which every block is resident: a counter that every block adds 1 to, after all it
// wrote, and waits for. One thread of a block, between synchronizations of the block.
INSIDE void grid_arrive(u32 *counter) {
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
}

INSIDE void grid_wait(const u32 *counter, u32 count) {
    u32 seen;
    do {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(counter) : "memory");
    } while (seen < count);
}

// N times four words, at from(i), that other blocks write one by one, each with `tag` in its upper half: until
// all are there.
template <int N, bool WAITS, class From>
INSIDE void load_tagged(uint4 (&words)[N], u32 tag, const From &from) {
    u32 missing;
    do {
        missing = 0;
#pragma unroll
        for (int i = 0; i < N; i++)
            asm volatile("ld.relaxed.gpu.global.v4.u32 {%0,%1,%2,%3}, [%4];"
                         : "=r"(words[i].x), "=r"(words[i].y), "=r"(words[i].z),
                           "=r"(words[i].w) : "l"(from(i)) : "memory");
#pragma unroll
        for (int i = 0; i < N; i++)
            missing |= (words[i].x ^ tag << 16) | (words[i].y ^ tag << 16) |
                       (words[i].z ^ tag << 16) | (words[i].w ^ tag << 16);
    } while (WAITS && missing >> 16);
}

INSIDE void store_tagged(u32 *to, u16 value, u32 tag) {
    asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(to), "r"(value | tag << 16)
                 : "memory");
}

INSIDE void cluster_arrive() {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

INSIDE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

// The address of the same place in another block of the cluster.
INSIDE u32 address_in(u32 address, int block) {
    u32 there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(block));
    return there;
}

template <int COUNT> INSIDE void fewer_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}

template <int COUNT> INSIDE void more_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}

// Programmatic dependent launch: a kernel may start while the one before it ends; what that one wrote
// is read, and what it read is overwritten, only behind wait_for_previous.
INSIDE void wait_for_previous() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

INSIDE void let_next_start() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }

// ---- barriers in shared memory, and the copies that arrive at them ----

INSIDE void barrier_init(u32 bar, u32 count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count));
}

INSIDE void barriers_visible() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

INSIDE void barrier_arrive(u32 bar) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}

INSIDE void barrier_expect(u32 bar, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes)
                 : "memory");
}

// Wait until the phase of this parity has ended. There is no limit on the tries: with a trap behind a
// count, nvdisasm showed spilled registers, and in one form a wait after every matrix instruction.
INSIDE void barrier_wait(u32 bar, u32 parity) {
    u32 done = 0;
    do {
        asm volatile(
            "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;"
            " selp.u32 %0, 1, 0, p; }"
            : "=r"(done) : "r"(bar), "r"(parity) : "memory");
    } while (!done);
}

// Bring the map itself to where copies read it.
INSIDE void fetch_map(const TensorMap &map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// Copy a box of the map, from element k of vector m of a set on, and arrive at the barrier.
INSIDE void copy_box(u32 to, const TensorMap &map, u32 bar, int k, int m, int set) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
        " [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(to), "l"(&map), "r"(bar), "r"(k), "r"(m), "r"(set)
        : "memory");
}

// Copy so many bytes, a multiple of 16, of global memory, and arrive at the barrier.
INSIDE void copy_bytes(u32 to, const void *from, u32 bytes, u32 bar) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
            "r"(to), "l"(from), "r"(bytes), "r"(bar)
        : "memory");
}

// ---- memory ----

// Shared memory as bytes; the compiler sees which memory it is.
INSIDE unsigned char *shared_bytes() {
    extern __shared__ uint4 words[];
    return (unsigned char *)words;
}

// Bring so many bytes, a multiple of 16, to the second-level cache.
INSIDE void fetch_ahead(const u32 *from, u32 bytes) {
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
}

INSIDE void load_four(u32 (&words)[4], const u32 *from) {
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "l"(from));
}

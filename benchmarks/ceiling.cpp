// The ceiling: the same relu descent step by hand, eight members a vector, sizes known to the compiler, one thread a
// core. Compiled by the benchmark where there is a C++ compiler; no part of gd-atlas calls it.
//   ceiling MEMBERS STEPS STEP_SIZE THREADS < starts (float64, members × K × K)
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#ifndef K
#define K 20
#endif
constexpr int N = 2 * K;
#define U _Pragma("GCC unroll 16")
typedef double V __attribute__((vector_size(64)));
typedef long long M __attribute__((vector_size(64)));

static inline V all(double x) { return V{x, x, x, x, x, x, x, x}; }
static inline V choose(M m, V a, V b) { return m ? a : b; }
#ifdef __AVX512F__
#include <immintrin.h>
static inline V root(V x) { return (V)_mm512_sqrt_pd((__m512d)x); }
#else
static inline V root(V x) { V r; for (int l = 0; l < 8; l++) r[l] = std::sqrt(x[l]); return r; }
#endif

static const double P[] = {0.16666666666666669, 0.07499999999998433, 0.04464285714635543, 0.030381944138531247,
    0.02237217294214989, 0.017352392720869973, 0.013971212973552933, 0.011479177415184906, 0.01032281435018578,
    0.005457506718640358, 0.01740087944269402, -0.014851887071247204, 0.028757851367421566};
static const double Q[] = {-0.5, -0.12499999999998329, -0.06250000000372899, -0.03906249967390431, -0.027343764765621,
    -0.020507416239390026, -0.016120071772069384, -0.013014606340635124, -0.01150849653027125, -0.006145415963301141,
    -0.01877200719466222, 0.01572602083085014, -0.03079068271642007};

static inline void arcs(V rho, V &arcsin, V &sine) {
    V size = choose(rho < 0, -rho, rho);
    M outer = size > 0.5;
    V half = 0.5 * (1.0 - size), z = choose(outer, half, size * size), s = choose(outer, root(half), size);
    V p = all(P[12]), q = all(Q[12]);
    U for (int i = 11; i >= 0; i--) { p = p * z + P[i]; q = q * z + Q[i]; }
    V angle = s + s * z * p, cosine = 1.0 + z * q;
    V a = choose(outer, M_PI / 2 - 2.0 * angle, angle);
    arcsin = choose(rho < 0, -a, a);
    sine = choose(outer, 2.0 * s * cosine, cosine);
}

struct Block { V v[N][K], g[K][N], pull[K][K], norm[N], inverse[N], radial[K]; };

static void step(Block &b, double eta) {
    const double tau = 1.0 / (2.0 * M_PI);
    for (int i = 0; i < K; i++) {
        V t = all(0); for (int k = 0; k < K; k++) t += b.v[i][k] * b.v[i][k];
        b.norm[i] = root(t); b.inverse[i] = 1.0 / b.norm[i]; b.radial[i] = all(0);
    }
    for (int i0 = 0; i0 < K; i0 += 4) for (int j0 = i0; j0 < N; j0 += 4) {
        V g[4][4];
        U for (int i = 0; i < 4; i++) U for (int j = 0; j < 4; j++) g[i][j] = all(0);
        for (int k = 0; k < K; k++) {
            U for (int i = 0; i < 4; i++) { U for (int j = 0; j < 4; j++)
            g[i][j] += b.v[std::min(i0 + i, K - 1)][k] * b.v[std::min(j0 + j, N - 1)][k]; } }
        U for (int i = 0; i < 4; i++) U for (int j = 0; j < 4; j++) if (i0 + i < K && j0 + j < N) b.g[i0 + i][j0 + j] = g[i][j];
    }
    for (int i = 0; i < K; i++) {
        b.g[i][i] = all(0.5);
        for (int j = i + 1; j < N; j++) {
            V rho = b.g[i][j] * (b.inverse[i] * b.inverse[j]), a, s;
            rho = choose(rho > 1.0, all(1.0), rho); rho = choose(rho < -1.0, all(-1.0), rho);
            arcs(rho, a, s);
            V slope = 0.25 + tau * a;
            double c = j < K ? 1.0 : -1.0;
            b.g[i][j] = c * slope; b.radial[i] += c * tau * s * b.norm[j];
            if (j < K) { b.g[j][i] = slope; b.radial[j] += tau * s * b.norm[i]; }
        }
    }
    for (int i0 = 0; i0 < K; i0 += 4) for (int k0 = 0; k0 < K; k0 += 4) {
        V p[4][4];
        U for (int i = 0; i < 4; i++) U for (int k = 0; k < 4; k++) {
            int r = std::min(i0 + i, K - 1);
            p[i][k] = b.radial[r] * b.inverse[r] * b.v[r][std::min(k0 + k, K - 1)];
        }
        for (int j = 0; j < N; j++) {
            U for (int i = 0; i < 4; i++) { U for (int k = 0; k < 4; k++)
            p[i][k] += b.g[std::min(i0 + i, K - 1)][j] * b.v[j][std::min(k0 + k, K - 1)]; } }
        U for (int i = 0; i < 4; i++) U for (int k = 0; k < 4; k++) if (i0 + i < K && k0 + k < K) b.pull[i0 + i][k0 + k] = p[i][k];
    }
    for (int i = 0; i < K; i++) for (int k = 0; k < K; k++) b.v[i][k] -= eta * b.pull[i][k];
}

int main(int, char **argv) {
    int members = atoi(argv[1]), steps = atoi(argv[2]), threads = atoi(argv[4]);
    double eta = atof(argv[3]);
    std::vector<double> W((size_t)members * K * K);
    if (fread(W.data(), 8, W.size(), stdin) != W.size()) return 1;
    int blocks = members / 8;
    std::vector<double> sums(threads, 0.0);
    auto work = [&](int t, int count) {
        Block *b = (Block *)aligned_alloc(64, sizeof(Block));
        for (int x = t; x < blocks; x += threads) {
            for (int i = 0; i < K; i++) for (int k = 0; k < K; k++) for (int l = 0; l < 8; l++)
                b->v[i][k][l] = W[((size_t)(8 * x + l) * K + i) * K + k];
            for (int j = K; j < N; j++) {
                for (int k = 0; k < K; k++) b->v[j][k] = all(j - K == k ? 1.0 : 0.0);
                b->norm[j] = b->inverse[j] = all(1.0);
            }
            for (int s = 0; s < count; s++) step(*b, eta);
            for (int i = 0; i < K; i++) for (int k = 0; k < K; k++) for (int l = 0; l < 8; l++) sums[t] += b->v[i][k][l] * b->v[i][k][l];
        }
        free(b);
    };
    for (int pass = 0; pass < 2; pass++) {
        for (auto &s : sums) s = 0.0;
        auto began = std::chrono::steady_clock::now();
        std::vector<std::thread> pool;
        for (int t = 0; t < threads; t++) pool.emplace_back(work, t, pass ? steps : std::min(steps, 10));
        for (auto &t : pool) t.join();
        double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(), total = 0.0;
        for (double s : sums) total += s;
        if (pass) printf("{\"seconds\": %.9f, \"sum_of_squares\": %.17g}\n", seconds, total);
    }
}

// The discrete Fourier transform of lengths that are products of 2, 3 and 5.
#pragma once

#include <cmath>
#include <complex>
#include <cstddef>
#include <stdexcept>
#include <vector>

using Complex = std::complex<double>;

class Fourier {
 public:
  explicit Fourier(std::size_t length) : root_(length) {
    const double pi = std::acos(-1.0);
    for (std::size_t k = 0; k < length; ++k) {
      root_[k] = std::polar(1.0, -2 * pi * double(k) / double(length));
    }
  }

  // X[k] = sum_n x[n] w^(n k), w = exp(-2 pi i / N)
  void forward(const Complex* x, Complex* X) const { transform(x, X, root_.size(), 1); }

  // x[n] = 1/N sum_k X[k] w^(-n k): forward of the conjugate, conjugated.
  void inverse(Complex* X, Complex* x) const {
    for (std::size_t k = 0; k < root_.size(); ++k) X[k] = std::conj(X[k]);
    forward(X, x);
    for (std::size_t n = 0; n < root_.size(); ++n) x[n] = std::conj(x[n]) / double(root_.size());
  }

 private:
  // Of every stride-th entry of x, n = N / stride of them. They are dealt out to p sets, whose
  // transforms S_r of length m = n / p make the whole, with v = w^stride, as
  //   X[k + q m] = sum_r v^(r (k + q m)) S_r[k],  q = 0 .. p - 1
  void transform(const Complex* x, Complex* X, std::size_t n, std::size_t stride) const {
    if (n == 1) {
      X[0] = x[0];
      return;
    }
    const std::size_t p = factor(n), m = n / p;
    for (std::size_t r = 0; r < p; ++r) transform(x + r * stride, X + r * m, m, p * stride);
    for (std::size_t k = 0; k < m; ++k) {
      Complex s[5];
      for (std::size_t r = 0; r < p; ++r) s[r] = X[k + r * m];
      for (std::size_t q = 0; q < p; ++q) {
        const std::size_t turn = (k + q * m) * stride;  // below N
        Complex sum = s[0];
        for (std::size_t r = 1, power = turn; r < p; ++r) {
          sum += root_[power] * s[r];
          power += turn;
          if (power >= root_.size()) power -= root_.size();
        }
        X[k + q * m] = sum;
      }
    }
  }

  static std::size_t factor(std::size_t n) {
    for (const std::size_t p : {2, 3, 5}) {
      if (n % p == 0) return p;
    }
    throw std::invalid_argument("a length of a Fourier transform has other factors than 2, 3, 5");
  }

  std::vector<Complex> root_;  // powers of w
};

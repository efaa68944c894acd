// SPDX-License-Identifier: Apache-2.0
// Maps of the scorers `ssim` and `variation` in one pass over memory; anomaly_inspection/scoring/one_pass.py calls them.
//
// SSIM: window 7x7, images mirrored at their borders; ssim.py has the formula. Times 49^2 (luminance) and 49 * 48
// (contrast) all its terms but the constants are whole numbers below 2^31: nothing is rounded before the division.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

// The widest instructions of this processor, chosen when the library is loaded.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define WIDEST __attribute__((target_clones("avx2", "default")))
#else
#define WIDEST
#endif

namespace
{

constexpr int REACH = 3;
constexpr int PIXELS = 49;

// Sums over the seven rows around one row, with room for the mirrored columns on either side.
struct Columns
{
  explicit Columns(std::size_t count)
  : one(count), two(count), squares(count), products(count) {}

  std::vector<std::int16_t> one, two;
  std::vector<std::int32_t> squares, products;
};

int mirrored(int at, int length)
{
  return at < 0 ? -at - 1 : at >= length ? 2 * length - 1 - at : at;
}

// One row comes into the sums, another leaves them.
WIDEST void move(
  const std::uint8_t * __restrict in_one, const std::uint8_t * __restrict in_two,
  const std::uint8_t * __restrict out_one, const std::uint8_t * __restrict out_two, int count,
  std::int16_t * __restrict one, std::int16_t * __restrict two,
  std::int32_t * __restrict squares, std::int32_t * __restrict products)
{
  for (int i = 0; i < count; ++i) {
    const std::int32_t a = in_one[i], b = in_two[i], c = out_one[i], d = out_two[i];
    one[i] = static_cast<std::int16_t>(one[i] + a - c);
    two[i] = static_cast<std::int16_t>(two[i] + b - d);
    squares[i] += a * a + b * b - c * c - d * d;
    products[i] += a * b - c * d;
  }
}

template<typename T>
void mirror(std::vector<T> & sums, int width, int channels)
{
  T * first = sums.data() + REACH * channels;
  for (int x = 1; x <= REACH; ++x) {
    for (int c = 0; c < channels; ++c) {
      first[-x * channels + c] = first[(x - 1) * channels + c];
      first[(width - 1 + x) * channels + c] = first[(width - x) * channels + c];
    }
  }
}

template<typename T>
inline T window(const T * sums, int at, int step)
{
  return static_cast<T>(
    sums[at] + sums[at + step] + sums[at + 2 * step] + sums[at + 3 * step] + sums[at + 4 * step] +
    sums[at + 5 * step] + sums[at + 6 * step]);
}

WIDEST void similarity(
  const std::int16_t * __restrict one, const std::int16_t * __restrict two,
  const std::int32_t * __restrict squares, const std::int32_t * __restrict products, int count,
  int step, float luminance, float contrast, float * __restrict found)
{
  for (int i = 0; i < count; ++i) {
    const std::int32_t a = window(one, i, step), b = window(two, i, step);
    const std::int32_t both = a * a + b * b, across = a * b;
    const std::int32_t spread = PIXELS * window(squares, i, step) - both;
    const std::int32_t shared = PIXELS * window(products, i, step) - across;
    const float above = (static_cast<float>(2 * across) + luminance) *
      (static_cast<float>(2 * shared) + contrast);
    const float below = (static_cast<float>(both) + luminance) *
      (static_cast<float>(spread) + contrast);
    found[i] = above / below;
  }
}

WIDEST void average(const float * __restrict values, int width, int channels, float * __restrict means)
{
  if (channels == 3) {
    // A number that the compiler knows takes a third of the time.
    for (int x = 0; x < width; ++x) {
      means[x] = (values[3 * x] + values[3 * x + 1] + values[3 * x + 2]) / 3.0F;
    }
    return;
  }
  for (int x = 0; x < width; ++x) {
    float sum = 0;
    for (int c = 0; c < channels; ++c) {
      sum += values[x * channels + c];
    }
    means[x] = sum / static_cast<float>(channels);
  }
}

inline float deviation(std::uint8_t level, float mean, float inverse)
{
  return std::fabs(static_cast<float>(level) - mean) * inverse;
}

// A function for each number of channels, and products instead of conditions: so the compiler takes vectors.
WIDEST void deviation_of_one(
  const std::uint8_t * __restrict image, const float * __restrict mean,
  const float * __restrict inverse, const std::uint8_t * __restrict inside, std::ptrdiff_t pixels,
  float * __restrict map)
{
  for (std::ptrdiff_t i = 0; i < pixels; ++i) {
    map[i] = deviation(image[i], mean[i], inverse[i]) * static_cast<float>(inside[i]);
  }
}

WIDEST void deviation_of_three(
  const std::uint8_t * __restrict image, const float * __restrict mean,
  const float * __restrict inverse, const std::uint8_t * __restrict inside, std::ptrdiff_t pixels,
  float * __restrict map)
{
  for (std::ptrdiff_t i = 0; i < pixels; ++i) {
    const float a = deviation(image[3 * i], mean[3 * i], inverse[3 * i]);
    const float b = deviation(image[3 * i + 1], mean[3 * i + 1], inverse[3 * i + 1]);
    const float c = deviation(image[3 * i + 2], mean[3 * i + 2], inverse[3 * i + 2]);
    const float most = a > b ? a : b;
    map[i] = (most > c ? most : c) * static_cast<float>(inside[i]);
  }
}

}  // namespace

extern "C"
{

// Fills `map`, height * width, with the mean SSIM over the channels; 0 = done, 1 = no memory. The images are
// height * width * channels without gaps, at least 7 x 7. The number in the name changes with the arguments.
int anomaly_inspection_ssim_map_1(
  const std::uint8_t * one, const std::uint8_t * two, int height, int width, int channels,
  float luminance, float contrast, float * map)
{
  const int count = width * channels;
  try {
    Columns sums(static_cast<std::size_t>(width + 2 * REACH) * channels);
    const std::vector<std::uint8_t> nothing(count);
    std::vector<float> row(channels > 1 ? count : 0);
    const int first = REACH * channels;
    const auto shift = [&](const std::uint8_t * in_one, const std::uint8_t * in_two,
        const std::uint8_t * out_one, const std::uint8_t * out_two) {
        move(
          in_one, in_two, out_one, out_two, count, sums.one.data() + first,
          sums.two.data() + first, sums.squares.data() + first, sums.products.data() + first);
      };
    const auto start = [&](int y) {
        return static_cast<std::ptrdiff_t>(mirrored(y, height)) * count;
      };
    for (int y = -REACH; y < REACH; ++y) {
      shift(one + start(y), two + start(y), nothing.data(), nothing.data());
    }
    for (int y = 0; y < height; ++y) {
      const std::ptrdiff_t in = start(y + REACH), out = start(y - REACH - 1);
      if (y == 0) {
        shift(one + in, two + in, nothing.data(), nothing.data());
      } else {
        shift(one + in, two + in, one + out, two + out);
      }
      mirror(sums.one, width, channels);
      mirror(sums.two, width, channels);
      mirror(sums.squares, width, channels);
      mirror(sums.products, width, channels);
      float * line = map + static_cast<std::ptrdiff_t>(y) * width;
      similarity(
        sums.one.data(), sums.two.data(), sums.squares.data(), sums.products.data(), count,
        channels, luminance, contrast, channels > 1 ? row.data() : line);
      if (channels > 1) {
        average(row.data(), width, channels, line);
      }
    }
  } catch (const std::bad_alloc &) {
    return 1;
  }
  return 0;
}

// Fills `map` with the highest |image - mean| * inverse over the channels, times `inside`, which is 0 or 1.
// 0 = done, 2 = neither one channel nor three.
int anomaly_inspection_z_map_1(
  const std::uint8_t * image, const float * mean, const float * inverse,
  const std::uint8_t * inside, std::ptrdiff_t pixels, int channels, float * map)
{
  if (channels == 1) {
    deviation_of_one(image, mean, inverse, inside, pixels, map);
  } else if (channels == 3) {
    deviation_of_three(image, mean, inverse, inside, pixels, map);
  } else {
    return 2;
  }
  return 0;
}

}  // extern "C"

// SPDX-License-Identifier: Apache-2.0
// Mean level and mean strength of the gradient in four directions of every cell of a grid, in one pass over a plane.
//
// anomaly_inspection/scoring/patch_features.py has the formulas. In NumPy and OpenCV they take some twenty images of the
// plane's size; here the sums of one row of cells stay in the cache.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <new>
#include <vector>

#include "widest.h"

namespace
{

// Level, and gradients across, along a diagonal, down, and along the other diagonal.
constexpr int MEANS = 5;

// The pixels of a cell along one axis: all from `begin` on count fully, but for the first and the last one.
struct Span
{
  Span(int cell, int cells, int size)
  {
    const double length = static_cast<double>(size) / cells;
    const double from = cell * length, to = std::min((cell + 1) * length, static_cast<double>(size));
    begin = static_cast<int>(from);
    end = std::min(static_cast<int>(std::ceil(to - 1e-9)), size);
    first = static_cast<float>((std::min(begin + 1.0, to) - from) / length);
    middle = static_cast<float>(1 / length);
    last = static_cast<float>((to - (end - 1)) / length);
  }

  float weight(int place) const
  {
    return place == begin ? first : place == end - 1 ? last : middle;
  }

  int begin, end;
  float first, middle, last;
};

// Adds a row, weighted, to the five sums of every column. `summed` is the weighted sum of the rows above, at and below it,
// `derived` the row below less the row above; both have a pixel more at either end.
WIDEST void add_row(
  const float * __restrict row, const float * __restrict summed, const float * __restrict derived,
  int width, float weight, float * __restrict sums)
{
  const float diagonal = weight * std::sqrt(0.5f);
  float * __restrict level = sums, * __restrict across = sums + width;
  float * __restrict rising = across + width, * __restrict down = rising + width;
  float * __restrict falling = down + width;
  for (int x = 0; x < width; ++x) {
    const float right = 0.25f * (summed[x + 2] - summed[x]);
    const float below = 0.25f * (derived[x] + 2 * derived[x + 1] + derived[x + 2]);
    level[x] += weight * row[x];
    across[x] += weight * std::fabs(right);
    rising[x] += diagonal * std::fabs(right + below);
    down[x] += weight * std::fabs(below);
    falling[x] += diagonal * std::fabs(right - below);
  }
}

inline float mean_of(const float * sums, const Span & span)
{
  float mean = span.first * sums[span.begin];
  for (int x = span.begin + 1; x < span.end - 1; ++x) {
    mean += span.middle * sums[x];
  }
  return span.end - span.begin > 1 ? mean + span.last * sums[span.end - 1] : mean;
}

WIDEST void three_rows(
  const float * __restrict above, const float * __restrict row, const float * __restrict below,
  int width, float * __restrict summed, float * __restrict derived)
{
  for (int x = 0; x < width; ++x) {
    summed[x + 1] = above[x] + 2 * row[x] + below[x];
    derived[x + 1] = below[x] - above[x];
  }
  // Beyond the rim the plane goes on as its mirror image.
  summed[0] = summed[1];
  derived[0] = derived[1];
  summed[width + 1] = summed[width];
  derived[width + 1] = derived[width];
}

}  // namespace

extern "C"
{

// Fills some of the `count` features of each of rows * columns cells, from a plane of height * width: the mean level at
// `level_at`, unless that is negative, and the four mean strengths from `strengths_at` on. 0 = done, 1 = no memory, 2 =
// cells smaller than a pixel. The number in the name changes with the arguments.
int anomaly_inspection_cell_means_1(
  const float * plane, int height, int width, int rows, int columns,
  float * features, int count, int level_at, int strengths_at)
{
  if (rows < 1 || columns < 1 || rows > height || columns > width) {
    return 2;
  }
  try {
    std::vector<float> summed(width + 2), derived(width + 2);
    std::vector<float> sums(static_cast<std::size_t>(MEANS) * width);
    std::vector<Span> across;
    across.reserve(columns);
    for (int column = 0; column < columns; ++column) {
      across.emplace_back(column, columns, width);
    }
    for (int row = 0; row < rows; ++row) {
      const Span down(row, rows, height);
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (int y = down.begin; y < down.end; ++y) {
        const float * middle = plane + static_cast<std::ptrdiff_t>(y) * width;
        three_rows(
          y > 0 ? middle - width : middle, middle, y + 1 < height ? middle + width : middle, width,
          summed.data(), derived.data());
        add_row(middle, summed.data(), derived.data(), width, down.weight(y), sums.data());
      }
      for (const Span & span : across) {
        if (level_at >= 0) {
          features[level_at] = mean_of(sums.data(), span);
        }
        for (int which = 1; which < MEANS; ++which) {
          features[strengths_at + which - 1] =
            mean_of(sums.data() + static_cast<std::ptrdiff_t>(which) * width, span);
        }
        features += count;
      }
    }
  } catch (const std::bad_alloc &) {
    return 1;
  }
  return 0;
}

}  // extern "C"

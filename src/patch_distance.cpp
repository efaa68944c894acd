// SPDX-License-Identifier: Apache-2.0
// The squared distance of every patch to the nearest of the Gaussians at and around its position, or of all kinds.
//
// anomaly_inspection/scoring/patch_distance.py and low_rank_gaussians.py have the formulas. The matrices of the
// positions are most of the memory that is read, so each is read once, for all patches around its position. Those of
// kinds fit the cache: sixteen patches at a time are compared with all of them.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <new>
#include <vector>

#include "widest.h"

namespace
{

// The patches around a position: three rows of three, and a fourth of each row that does not count.
constexpr int AROUND = 3, QUAD = 4, LANES = 16;

// One number for each patch; narrower processors take them in pieces.
typedef float Quad __attribute__((vector_size(QUAD * sizeof(float)), aligned(sizeof(float))));
typedef float Lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float))));

// The features with a frame of one patch: of every row one line for each feature.
struct Lines
{
  Lines(const float * features, int rows, int columns, int count)
  : length(columns + QUAD), row(static_cast<std::ptrdiff_t>(count) * length),
    values(static_cast<std::size_t>(rows + 2) * row + QUAD)
  {
    for (int y = 0; y < rows; ++y) {
      for (int x = 0; x < columns; ++x) {
        float * place = values.data() + (y + 1) * row + x + 1;
        for (int j = 0; j < count; ++j) {
          place[j * length] = *features++;
        }
      }
    }
  }

  std::ptrdiff_t length, row;
  std::vector<float> values;
};

// The features of the patches around a position, less their mean there.
WIDEST void subtract(
  const float * __restrict corner, std::ptrdiff_t length, std::ptrdiff_t next_row,
  const float * __restrict mean, int count, float * __restrict apart)
{
  for (int j = 0; j < count; ++j) {
    for (int row = 0; row < AROUND; ++row) {
      *reinterpret_cast<Quad *>(apart + j * LANES + row * QUAD) =
        *reinterpret_cast<const Quad *>(corner + j * length + row * next_row) - mean[j];
    }
  }
}

// Adds the squared lengths along `count` rows. Row i has first + i * more elements.
WIDEST void add_squares(
  const float * __restrict row, int count, int first, int more,
  const float * __restrict apart, float * __restrict sums)
{
  const Lanes * __restrict difference = reinterpret_cast<const Lanes *>(apart);
  Lanes sum = *reinterpret_cast<Lanes *>(sums);
  int i = 0;
  // Four at a time: the differences are read once for them, and no addition waits for the one before it.
  for (; i + 3 < count; i += 4) {
    const int length = first + i * more;
    const float * one = row, * two = one + length, * three = two + length + more;
    const float * four = three + length + 2 * more;
    Lanes a = {}, b = {}, c = {}, d = {};
    for (int j = 0; j < length; ++j) {
      const Lanes here = difference[j];
      a += one[j] * here;
      b += two[j] * here;
      c += three[j] * here;
      d += four[j] * here;
    }
    if (more) {
      b += two[length] * difference[length];
      c += three[length] * difference[length] + three[length + 1] * difference[length + 1];
      d += four[length] * difference[length] + four[length + 1] * difference[length + 1] +
        four[length + 2] * difference[length + 2];
    }
    sum += a * a + b * b + (c * c + d * d);
    row = four + length + 3 * more;
  }
  for (; i < count; ++i) {
    const int length = first + i * more;
    Lanes along = {};
    for (int j = 0; j < length; ++j) {
      along += row[j] * difference[j];
    }
    sum += along * along;
    row += length;
  }
  *reinterpret_cast<Lanes *>(sums) = sum;
}

WIDEST void subtract_from_all(
  const float * __restrict values, const float * __restrict mean, int count,
  float * __restrict apart)
{
  for (int j = 0; j < count; ++j) {
    *reinterpret_cast<Lanes *>(apart + j * LANES) =
      *reinterpret_cast<const Lanes *>(values + j * LANES) - mean[j];
  }
}

WIDEST void add_own_squares(const float * __restrict apart, int count, float * __restrict sums)
{
  const Lanes * __restrict difference = reinterpret_cast<const Lanes *>(apart);
  Lanes sum = *reinterpret_cast<Lanes *>(sums);
  for (int j = 0; j < count; ++j) {
    sum += difference[j] * difference[j];
  }
  *reinterpret_cast<Lanes *>(sums) = sum;
}

// What is not a number stays: std::min() would hide it.
inline float lesser(float least, float found)
{
  return found >= least || least != least ? least : found;
}

}  // namespace

extern "C"
{

// Fills `nearest`, rows * columns. Features and mean are rows * columns * count. A patch may have come from the eight
// positions around its own. The matrices of a position are: without `precision` the packed lower triangle of its
// whitening matrix; with it `rank` directions, and the squared lengths along them are taken off precision times the
// squared difference. 0 = done, 1 = no memory. The number in the name changes with the arguments.
int anomaly_inspection_nearest_of_positions_1(
  const float * features, const float * mean, const float * matrices, const float * precision,
  int rows, int columns, int count, int rank, float * nearest)
{
  const std::ptrdiff_t size = precision ? static_cast<std::ptrdiff_t>(rank) * count :
    static_cast<std::ptrdiff_t>(count) * (count + 1) / 2;
  try {
    const Lines lines(features, rows, columns, count);
    std::vector<float> apart(static_cast<std::size_t>(count) * LANES);
    std::fill(
      nearest, nearest + static_cast<std::ptrdiff_t>(rows) * columns,
      std::numeric_limits<float>::infinity());
    for (int row = 0; row < rows; ++row) {
      for (int column = 0; column < columns; ++column) {
        const std::ptrdiff_t place = static_cast<std::ptrdiff_t>(row) * columns + column;
        subtract(
          lines.values.data() + row * lines.row + column, lines.length, lines.row,
          mean + place * count, count, apart.data());
        float sums[LANES] = {};
        const float * matrix = matrices + place * size;
        if (precision) {
          float own[LANES] = {};
          add_squares(matrix, rank, count, 0, apart.data(), sums);
          add_own_squares(apart.data(), count, own);
          for (int n = 0; n < LANES; ++n) {
            sums[n] = own[n] * precision[place] - sums[n];
          }
        } else {
          add_squares(matrix, count, 1, 1, apart.data(), sums);
        }
        for (int y = std::max(row - 1, 0); y <= std::min(row + 1, rows - 1); ++y) {
          for (int x = std::max(column - 1, 0); x <= std::min(column + 1, columns - 1); ++x) {
            const float found = sums[(y - row + 1) * QUAD + x - column + 1];
            float & least = nearest[static_cast<std::ptrdiff_t>(y) * columns + x];
            least = lesser(least, found);
          }
        }
      }
    }
  } catch (const std::bad_alloc &) {
    return 1;
  }
  return 0;
}

// Fills `nearest` for as many patches, whose features are patches * count. The mean is kinds * count; the matrices are
// the packed lower triangles of the whitening matrices. 0 = done, 1 = no memory.
int anomaly_inspection_nearest_of_kinds_1(
  const float * features, const float * mean, const float * matrices, std::ptrdiff_t patches,
  int count, int kinds, float * nearest)
{
  const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(count) * (count + 1) / 2;
  try {
    std::vector<float> values(static_cast<std::size_t>(count) * LANES), apart(values.size());
    for (std::ptrdiff_t start = 0; start < patches; start += LANES) {
      const int some = static_cast<int>(std::min<std::ptrdiff_t>(LANES, patches - start));
      for (int n = 0; n < some; ++n) {
        for (int j = 0; j < count; ++j) {
          values[j * LANES + n] = features[(start + n) * count + j];
        }
      }
      std::fill(nearest + start, nearest + start + some, std::numeric_limits<float>::infinity());
      for (int kind = 0; kind < kinds; ++kind) {
        float sums[LANES] = {};
        subtract_from_all(values.data(), mean + kind * count, count, apart.data());
        add_squares(matrices + kind * size, count, 1, 1, apart.data(), sums);
        for (int n = 0; n < some; ++n) {
          nearest[start + n] = lesser(nearest[start + n], sums[n]);
        }
      }
    }
  } catch (const std::bad_alloc &) {
    return 1;
  }
  return 0;
}

}  // extern "C"

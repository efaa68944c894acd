// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fstream>
#include <string>
#include <vector>

namespace vectors {

struct Vector {
  std::string line;
  std::string result;
  std::string meaning;
};

// The lines of protocol_vectors.tsv; VECTORS is its path.
inline std::vector<Vector> all() {
  std::vector<Vector> found;
  std::ifstream file(VECTORS);
  for (std::string row; std::getline(file, row);) {
    const std::size_t first = row.find('\t');
    const std::size_t second = row.find('\t', first + 1);
    if (row.front() != '#' && second != std::string::npos) {
      found.push_back({row.substr(0, first), row.substr(first + 1, second - first - 1),
                       row.substr(second + 1)});
    }
  }
  return found;
}

}  // namespace vectors

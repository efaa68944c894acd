// SPDX-License-Identifier: Apache-2.0
//
// A small test framework: TEST(name) { CHECK(condition); }, and one runner for all tests of a
// program.
#pragma once

#include <cstdio>
#include <vector>

namespace check {

struct Test {
  const char* name;
  void (*run)();
};

inline std::vector<Test> tests;
inline int failures = 0;

inline void that(bool holds, const char* condition, const char* file, int line) {
  if (!holds) {
    ++failures;
    std::printf("%s:%d: %s\n", file, line, condition);
  }
}

inline int run_all() {
  for (const Test& test : tests) {
    const int before = failures;
    test.run();
    std::printf("%s %s\n", failures == before ? "passed" : "FAILED", test.name);
  }
  return failures == 0 && !tests.empty() ? 0 : 1;
}

}  // namespace check

#define CHECK(condition) check::that(static_cast<bool>(condition), #condition, __FILE__, __LINE__)
#define TEST(name)                                                                    \
  static void test_##name();                                                          \
  static const bool name##_is_listed = (check::tests.push_back({#name, test_##name}), true); \
  static void test_##name()

// SPDX-License-Identifier: Apache-2.0
#ifndef WIDEST_H_
#define WIDEST_H_

// The widest instructions of this processor, chosen when the library is loaded.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define WIDEST __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WIDEST
#endif

#endif  // WIDEST_H_

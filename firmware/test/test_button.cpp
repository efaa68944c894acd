// SPDX-License-Identifier: Apache-2.0
#include "button.h"
#include "check.h"

namespace {

void sample(button::Button& button, bool is_down, int duration_ms) {
  for (int at = 0; at < duration_ms; ++at) {
    button.sample(is_down);
  }
}

}  // namespace

TEST(bouncing_contacts_are_one_press) {
  button::Button button;
  for (int bounce = 0; bounce < 10; ++bounce) {
    sample(button, true, 2);
    sample(button, false, 1);
  }
  CHECK(button.presses() == 0);
  sample(button, true, 50);
  CHECK(button.presses() == 1);
  CHECK(button.is_held());
  for (int bounce = 0; bounce < 10; ++bounce) {
    sample(button, false, 1);
    sample(button, true, 2);
  }
  sample(button, false, 50);
  CHECK(button.presses() == 1);
  CHECK(!button.is_held());
}

TEST(a_spike_is_no_press) {
  button::Button button;
  sample(button, true, 14);
  sample(button, false, 100);
  CHECK(button.presses() == 0);
}

TEST(presses_begin_again_behind_65535) {
  button::Button button;
  for (int press = 0; press < 65'537; ++press) {
    sample(button, true, 15);
    sample(button, false, 15);
  }
  CHECK(button.presses() == 1);
}

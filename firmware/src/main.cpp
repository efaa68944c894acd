// SPDX-License-Identifier: Apache-2.0
//
// Reads and writes pins and bytes; everything else is in lib/.
//
// The gate goes to rest whatever hangs. loop() feeds the task watchdog, which resets the chip when loop() has not fed
// it for a second. After a reset the gate's pin floats, and its pull-down brings a relay to rest at once. A servo gets
// no pulses until setup(), half a second later, sends it to rest before anything else. A dip of the supply has the
// same effect through the brown-out detector (2.43 V), so the servo needs a supply of its own.
#include <Arduino.h>
#include <BluetoothSerial.h>
#include <U8x8lib.h>
#include <Wire.h>
#include <esp_task_wdt.h>
#include <freertos/FreeRTOS.h>
#include <freertos/stream_buffer.h>
#include <freertos/task.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "board.h"
#include "device.h"

namespace {

constexpr std::size_t bluetooth_port = 0;
constexpr std::size_t usb_port = 1;
constexpr std::uint32_t baud = 115'200;
constexpr std::uint32_t tick_us = 1'000;
constexpr std::uint32_t watchdog_s = 1;
// Under a flood of bytes the device takes this many, then looks at its pins and its gate again.
constexpr int most_bytes_a_turn = 128;

BluetoothSerial bluetooth;
U8X8_SSD1306_128X64_NONAME_HW_I2C display;
std::optional<device::Device> the_device;
StreamBufferHandle_t from_bluetooth = nullptr;
StreamBufferHandle_t to_bluetooth = nullptr;
std::atomic<bool> bluetooth_is_connected{false};

class GateOutput {
 public:
  void set_up() {
    if constexpr (board::gate_kind == board::GateKind::servo) {
      ledcSetup(channel, 1'000'000 / board::servo_period_us, bits);
      write();
      ledcAttachPin(board::gate_pin, channel);
    } else {
      // Set the level first; otherwise the output would start with whatever the register held.
      write();
      pinMode(board::gate_pin, OUTPUT);
    }
  }

  void move(bool is_open) {
    if (is_open != is_open_) {
      is_open_ = is_open;
      write();
    }
  }

 private:
  static constexpr std::uint8_t channel = 0;
  static constexpr std::uint8_t bits = 16;

  void write() const {
    if constexpr (board::gate_kind == board::GateKind::servo) {
      const std::uint32_t pulse_us = is_open_ ? board::servo_open_us : board::servo_rest_us;
      ledcWrite(channel, (pulse_us << bits) / board::servo_period_us);
    } else {
      digitalWrite(board::gate_pin, is_open_ ? HIGH : LOW);
    }
  }

  bool is_open_ = false;
};

GateOutput gate_output;

std::uint32_t now_ms() { return static_cast<std::uint32_t>(millis()); }
std::uint32_t now_us() { return static_cast<std::uint32_t>(micros()); }

// Runs in its own task on its own core: a write to a congested link blocks for up to a second, and
// the gate cannot wait that long.
void carry_bluetooth(void*) {
  std::array<std::uint8_t, 128> bytes{};
  for (;;) {
    const bool is_connected = bluetooth.hasClient();
    bluetooth_is_connected = is_connected;
    while (bluetooth.available() > 0) {
      const auto byte = static_cast<std::uint8_t>(bluetooth.read());
      xStreamBufferSend(from_bluetooth, &byte, 1, pdMS_TO_TICKS(2));
    }
    const std::size_t count =
        xStreamBufferReceive(to_bluetooth, bytes.data(), bytes.size(), pdMS_TO_TICKS(2));
    if (count > 0 && is_connected) {
      bluetooth.write(bytes.data(), count);
    }
  }
}

void receive() {
  std::array<std::uint8_t, most_bytes_a_turn> bytes{};
  const std::size_t count = xStreamBufferReceive(from_bluetooth, bytes.data(), bytes.size(), 0);
  if (bluetooth_is_connected) {
    for (std::size_t at = 0; at < count; ++at) {
      the_device->receive(bluetooth_port, static_cast<char>(bytes[at]), now_ms());
    }
  } else {
    the_device->disconnect(bluetooth_port);
  }
  for (int left = std::min(Serial.available(), most_bytes_a_turn); left > 0; --left) {
    the_device->receive(usb_port, static_cast<char>(Serial.read()), now_ms());
  }
}

// Writes only what finds room; nothing here waits.
void send() {
  const std::string_view by_bluetooth = the_device->to_send(bluetooth_port);
  the_device->sent(bluetooth_port, xStreamBufferSend(to_bluetooth, by_bluetooth.data(),
                                                     by_bluetooth.size(), 0));
  const std::string_view by_usb = the_device->to_send(usb_port);
  const auto room = static_cast<std::size_t>(std::max(Serial.availableForWrite(), 0));
  const std::size_t count = std::min(by_usb.size(), room);
  Serial.write(reinterpret_cast<const std::uint8_t*>(by_usb.data()), count);
  the_device->sent(usb_port, count);
}

std::array<device::Conversions, device::channels.size()> convert() {
  std::array<device::Conversions, device::channels.size()> conversions{};
  for (std::size_t at = 0; at < conversions.size(); ++at) {
    for (auto& conversion : conversions[at]) {
      conversion = static_cast<std::uint16_t>(analogRead(device::channels[at]));
    }
  }
  return conversions;
}

// Draws one glyph at most, 0.4 ms on the bus at 400 kHz; the whole display would take 25 ms.
void show(const device::Text& text) {
  static device::Text shown{};
  for (std::size_t row = 0; row < text.size(); ++row) {
    for (std::size_t column = 0; column < text[row].size(); ++column) {
      if (shown[row][column] != text[row][column]) {
        shown[row][column] = text[row][column];
        display.drawGlyph(static_cast<std::uint8_t>(column), static_cast<std::uint8_t>(2 * row),
                          static_cast<std::uint8_t>(text[row][column]));
        return;
      }
    }
  }
}

}  // namespace

void setup() {
  gate_output.set_up();
  pinMode(board::lamp_pin, OUTPUT);
  pinMode(board::button_pin, INPUT_PULLUP);
  // 11 dB: up to about 3.1 V. The converter saturates below 0.1 V and above 3.1 V and is non-linear by some per cent
  // in between. This does not matter for a knob that a person turns until the result is right, and scaling has end
  // zones.
  analogReadResolution(12);
  analogSetAttenuation(ADC_11db);
  Serial.setRxBufferSize(512);
  Serial.setTxBufferSize(512);
  Serial.begin(baud);
  if constexpr (board::has_display) {
    Wire.begin(board::display_data_pin, board::display_clock_pin);
    display.setBusClock(400'000);
    display.begin();
    display.setFont(u8x8_font_chroma48medium8_r);
  }
  from_bluetooth = xStreamBufferCreate(512, 1);
  to_bluetooth = xStreamBufferCreate(512, 1);
  bluetooth.begin(board::bluetooth_name);
  xTaskCreatePinnedToCore(carry_bluetooth, "bluetooth", 4096, nullptr, 1, nullptr, 0);
  the_device.emplace(now_ms());
  esp_task_wdt_init(watchdog_s, true);
  esp_task_wdt_add(nullptr);
}

void loop() {
  static std::uint32_t ticked_us = now_us();
  esp_task_wdt_reset();
  receive();
  const std::uint32_t since_us = now_us() - ticked_us;
  if (since_us >= tick_us) {
    // Missed samples are not made up for: the filter would see the same instant several times.
    ticked_us += since_us < 2 * tick_us ? tick_us : since_us;
    the_device->tick(now_ms(), convert(), digitalRead(board::button_pin) == LOW);
    if constexpr (board::has_display) {
      show(the_device->text(now_ms()));
    }
  }
  gate_output.move(the_device->gate_is_open(now_ms()));
  digitalWrite(board::lamp_pin, the_device->lamp_is_lit(now_ms()) ? HIGH : LOW);
  send();
}

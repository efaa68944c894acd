// SPDX-License-Identifier: Apache-2.0
// The newest picture of the line, from a WebSocket of its own. Says 'shown' when the browser has drawn
// one; only then the server sends the next.
export default {
  template: `
    <figure class="live" :class="verdict">
      <img ref="image" v-show="part" alt="">
      <figcaption v-if="part">{{ caption }}</figcaption>
      <div v-else class="live-empty">{{ view ? view + ': ' + waiting : waiting }}</div>
    </figure>`,
  props: { address: String, view: String, waiting: String, good: String, bad: String, label: String },
  data: () => ({ part: 0, passed: null }),
  computed: {
    verdict() { return this.passed === null ? '' : this.passed ? 'is-good' : 'is-bad'; },
    caption() {
      const word = this.passed === null ? '' : this.passed ? this.good : this.bad;
      return `${this.view ? this.view + ' · ' : ''}${this.label} ${this.part} ${word}`.trim();
    },
  },
  mounted() { this.pause = 500; this.connect(); },
  unmounted() { this.ended = true; this.socket?.close(); },
  methods: {
    connect() {
      const url = new URL(this.address, document.baseURI);
      url.protocol = url.protocol.replace('http', 'ws');
      this.socket = new WebSocket(url);
      this.socket.binaryType = 'arraybuffer';
      this.socket.onmessage = (event) => this.show(event.data);
      this.socket.onclose = () => {
        if (this.ended) return;
        setTimeout(() => this.connect(), this.pause);
        this.pause = Math.min(2 * this.pause, 8000);
      };
    },
    async show(data) {
      this.pause = 500;
      const length = new DataView(data).getUint16(0);
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 2, length)));
      const url = URL.createObjectURL(new Blob([new Uint8Array(data, 2 + length)], { type: 'image/jpeg' }));
      const image = this.$refs.image;
      image.src = url;
      // A tab in the background decodes nothing: it must not hold the answer back for ever.
      await Promise.race([image.decode().catch(() => {}), new Promise((done) => setTimeout(done, 1000))]);
      URL.revokeObjectURL(this.url);
      this.url = url;
      this.part = head.part;
      this.passed = head.passed;
      if (this.socket.readyState === WebSocket.OPEN) this.socket.send('shown');
    },
  },
};

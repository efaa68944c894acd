// SPDX-License-Identifier: Apache-2.0
// A page whose log-in has ended goes to the log-in page, instead of trying to reconnect for ever.
(() => {
  const look = async () => {
    try {
      const answer = await fetch('/session', { cache: 'no-store' });
      if (answer.status === 401) window.location.reload();
    } catch {
      // The panel is not there: the page itself says that the connection is lost.
    }
  };
  setInterval(look, 5000);
})();

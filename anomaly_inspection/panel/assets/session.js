// SPDX-License-Identifier: Apache-2.0
// A page whose log-in has ended, or is another one by now, is made anew instead of trying to reconnect for ever.
(() => {
  const madeFor = document.currentScript.dataset.role;
  let name;
  const look = async () => {
    try {
      const answer = await fetch('/session', { cache: 'no-store' });
      if (answer.status === 401) window.location.reload();
      if (!answer.ok) return;
      const now = await answer.json();
      name ??= now.name;
      if (now.role !== madeFor || now.name !== name) window.location.reload();
    } catch {
      // The panel is not there: the page itself says that the connection is lost.
    }
  };
  setInterval(look, 5000);
})();

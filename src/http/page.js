// Keeps the page current: the server sends the main part as HTML whenever something changes, and
// only what differs is touched, so that focus, open details and scroll positions stay.
(() => {
  "use strict";
  const main = document.querySelector("main");
  const pill = () => document.getElementById("live");
  let state = "live", source = null, retry = 0, skew = 0;

  const show = () => {
    const words = { live: "live", lost: "connection lost, trying again" };
    pill().dataset.state = state;
    if (pill().textContent !== words[state]) pill().textContent = words[state];
  };

  // Makes `to`'s children equal to `from`'s with as few changes as a position-by-position walk finds.
  const morph = (to, from) => {
    const fresh = [...from.childNodes];
    fresh.forEach((node, i) => {
      const old = to.childNodes[i];
      if (!old) {
        to.append(node);
      } else if (old.nodeType !== node.nodeType || old.nodeName !== node.nodeName) {
        old.replaceWith(node);
      } else if (old.nodeType === Node.TEXT_NODE) {
        if (old.data !== node.data) old.data = node.data;
      } else if (old.nodeType === Node.ELEMENT_NODE) {
        for (const { name } of [...old.attributes]) {
          if (!node.hasAttribute(name) && name !== "open") old.removeAttribute(name);
        }
        for (const { name, value } of node.attributes) {
          if (old.getAttribute(name) !== value) old.setAttribute(name, value);
        }
        morph(old, node);
      }
    });
    while (to.childNodes.length > fresh.length) to.lastChild.remove();
  };

  // The same words as duration_text in page.cc.
  const duration = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
  };
  const tick = () => {
    for (const e of main.querySelectorAll("[data-since]")) {
      const text = duration(Date.now() + skew - Number(e.dataset.since));
      if (e.textContent !== text) e.textContent = text;
    }
  };
  const synchronise = () => {
    const now = Number(main.querySelector("[data-now]")?.dataset.now);
    if (now) skew = now - Date.now();
    tick();
  };

  const connect = () => {
    clearTimeout(retry);
    source?.close();
    source = new EventSource("api/events?as=page");
    source.onopen = () => { state = "live"; show(); };
    source.addEventListener("page", (event) => {
      const fresh = document.createElement("template");
      fresh.innerHTML = event.data;
      morph(main, fresh.content);
      state = "live";
      show();
      synchronise();
    });
    source.onerror = () => {
      state = "lost";
      show();
      // The browser tries again by itself unless it was refused.
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(connect, 3000);
    };
  };

  // Nobody looks at a hidden page: it holds no connection.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(retry);
      source?.close();
    } else {
      connect();
    }
  });
  setInterval(() => { if (!document.hidden) tick(); }, 1000);
  synchronise();
  connect();
})();

// Not a service worker of this page, which has none. llama-server's page installs one, and a browser that once showed
// that page at this address would go on showing it. This takes its place at the next check, and removes itself.

addEventListener("install", () => skipWaiting());

addEventListener("activate", (event) => {
  event.waitUntil(removeAll());
});

async function removeAll() {
  await registration.unregister();
  for (const name of await caches.keys()) await caches.delete(name);
  for (const page of await clients.matchAll({ type: "window" })) page.navigate(page.url);
}

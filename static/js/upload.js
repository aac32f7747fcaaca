// How much of an archive has arrived, while it is being sent. Without JavaScript the browser itself shows that.
(() => {
  "use strict";

  document.addEventListener("htmx:beforeRequest", (event) => {
    const place = event.target.matches?.("[data-upload]") && event.target.querySelector("[data-upload-progress]");
    if (place) place.hidden = false;
  });

  document.addEventListener("htmx:xhr:progress", (event) => {
    const { lengthComputable, loaded, total } = event.detail;
    const place = event.target.closest?.("[data-upload]")?.querySelector("[data-upload-progress]");
    if (!place || !lengthComputable || !total) return;
    const megabytes = (bytes) => Math.round(bytes / 1e6).toLocaleString("en");
    const words = loaded < total ? `Uploading ${megabytes(loaded)} of ${megabytes(total)} MB` : "It has arrived; reading it";
    const bar = place.querySelector("progress");
    const spoken = place.querySelector("[data-upload-words]");
    bar.max = total;
    bar.value = loaded;
    if (spoken.textContent !== words) spoken.textContent = words;
  });
})();

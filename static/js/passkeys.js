// Asks the browser for a passkey, or to make one, and sends its answer with the form that it stands in.
// <form data-passkey="get|create" data-passkey-options="{…}"> with a hidden field named credential.
(() => {
  "use strict";

  const bytes = (text) => {
    const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(plain, (c) => c.charCodeAt(0));
  };
  const text = (buffer) => {
    const plain = Array.from(new Uint8Array(buffer), (b) => String.fromCharCode(b)).join("");
    return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };

  const asked = (options) => {
    const key = options.publicKey;
    key.challenge = bytes(key.challenge);
    if (key.user) key.user.id = bytes(key.user.id);
    for (const list of [key.allowCredentials, key.excludeCredentials]) {
      for (const item of list || []) item.id = bytes(item.id);
    }
    return options;
  };

  const told = (credential) => {
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[name]) response[name] = text(credential.response[name]);
    }
    return {
      id: credential.id,
      rawId: text(credential.rawId),
      type: credential.type,
      response,
      clientExtensionResults: {},
    };
  };

  const run = async (form) => {
    const words = form.querySelector("[data-passkey-words]");
    try {
      const options = asked(JSON.parse(form.dataset.passkeyOptions));
      const credential = await navigator.credentials[form.dataset.passkey](options);
      form.elements.credential.value = JSON.stringify(told(credential));
      form.submit();
    } catch (error) {
      if (words) words.textContent = "The browser gave no passkey (" + error.name + "). Try again, or take another way.";
    }
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const words = form.querySelector("[data-passkey-words]");
    if (!window.PublicKeyCredential || !navigator.credentials) {
      if (words) words.textContent = "This browser has no passkeys here; they need https.";
      continue;
    }
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (form.reportValidity()) run(form);
    });
    for (const button of form.querySelectorAll("button[disabled]")) button.disabled = false;
  }
})();

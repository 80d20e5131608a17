// Beside allauth's own scripts for passkeys: says what went wrong, and switches off what this browser cannot do.
"use strict";

const WHY = {
  NotAllowedError: "It was cancelled or took too long. Try again.",
  InvalidStateError: "That device or key is added already.",
  SecurityError: "Passkeys work only at this site's own address. Open it by its name, with https.",
  NotSupportedError: "That device or key cannot do this. Try another.",
};

function tell(text) {
  const notice = document.querySelector("[data-passkey-error]");
  notice.querySelector("p").textContent = text;
  notice.hidden = false;
}

document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  tell(WHY[event.detail.exception.name] || "That did not work. Try again, or sign in another way.");
});

if (!window.PublicKeyCredential) {
  document.querySelectorAll("[data-passkey]").forEach((button) => { button.disabled = true; });
  if (!document.getElementById("passkey-login")) tell("This browser has no passkeys. Use another, or one that is newer.");
}

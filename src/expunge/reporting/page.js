"use strict";
const cases = [...document.querySelectorAll("details.case")];

function openAddressed() {
  const found = location.hash && document.getElementById(location.hash.slice(1));
  if (found instanceof HTMLDetailsElement) {
    found.open = true;
    found.scrollIntoView();
  }
}
addEventListener("hashchange", openAddressed);
openAddressed();

let closed = [];
addEventListener("beforeprint", () => {
  closed = cases.filter((one) => !one.open);
  closed.forEach((one) => { one.open = true; });
});
addEventListener("afterprint", () => closed.forEach((one) => { one.open = false; }));

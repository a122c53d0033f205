const messages = () => document.querySelectorAll(".msg > details");
document.getElementById("open").addEventListener("click", () => messages().forEach((message) => { message.open = true; }));
document.getElementById("close").addEventListener("click", () => messages().forEach((message) => { message.open = false; }));
const reveal = () => {
  const named = document.getElementById(location.hash.slice(1));
  const message = named && named.querySelector("details");
  if (message) { message.open = true; named.scrollIntoView(); }
};
addEventListener("hashchange", reveal);
reveal();

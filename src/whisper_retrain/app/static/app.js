// Plays words, shows the transcripts when the recorder says so, and knows the editor's keys.

const player = () => document.getElementById("player");

document.addEventListener("click", (event) => {
  const word = event.target.closest("[data-start]");
  if (word) return playWord(word);
  const action = event.target.closest("[data-do]");
  if (action && action.dataset.do !== "next") act(action.dataset.do);
});

function playWord(word) {
  const audio = player();
  audio.currentTime = Math.max(0, Number(word.dataset.start) - 0.05);
  const until = Number(word.dataset.end) + 0.1;
  const stop = () => {
    if (audio.currentTime >= until) audio.pause();
    if (audio.paused) audio.removeEventListener("timeupdate", stop);
  };
  audio.addEventListener("timeupdate", stop);
  audio.play();
}

function act(action) {
  const audio = player();
  if (!audio) return;
  if (action === "toggle") audio.paused ? audio.play() : audio.pause();
  if (action === "back") audio.currentTime = Math.max(0, audio.currentTime - 2);
}

document.addEventListener("keydown", (event) => {
  const editor = document.querySelector("[data-editor]");
  if (!editor) return;
  if (event.key === "Escape") act("toggle");
  else if (event.altKey && event.code === "KeyB") act("back");
  else if (event.altKey && event.code === "KeyN") editor.querySelector("[data-do=next]")?.click();
  else if (event.ctrlKey && event.key === "Enter") editor.querySelector("form")?.requestSubmit();
  else return;
  event.preventDefault();
});

// The recorder writes "<token>:<how many models have heard it>" into a part that is never shown.
const result = document.getElementById("result");
let shown = "";

async function show(token, state) {
  const answer = await fetch(`/transcripts/${encodeURIComponent(token)}?part=true`);
  if (!answer.ok || `${token}:${state}` !== shown) return;
  const isNew = result.dataset.token !== token;
  const place = player()?.currentTime;
  result.innerHTML = await answer.text();
  result.dataset.token = token;
  result.dataset.state = state;
  if (isNew) result.focus({ preventScroll: false });
  else if (place) player().currentTime = place;
}

function look() {
  const said = document.getElementById("heard")?.textContent.trim() ?? "";
  const [, token, state] = said.match(/^([\w-]{32}):(\d|done)$/) ?? [];
  if (!token || said === shown) return;
  shown = said;
  show(token, state);
}

if (result) {
  const recorder = document.querySelector("gradio-app");
  new MutationObserver(look).observe(recorder, { childList: true, subtree: true, characterData: true });
}


"use strict";
// Texts of documents are never read here: only ids, digests and what the reader says.
(() => {
  const { recipe, sample } = document.body.dataset;
  const key = `provender labels ${recipe} ${sample}`;
  const articles = [...document.querySelectorAll("article")];
  const byId = (id) => document.getElementById(id);
  let isKept = true;
  let said = {};

  const load = () => {
    try {
      const found = JSON.parse(localStorage.getItem(key) ?? "{}");
      said = found && typeof found === "object" && !Array.isArray(found) ? found : {};
    } catch {
      isKept = false;
    }
  };

  const keep = () => {
    try {
      localStorage.setItem(key, JSON.stringify(said));
    } catch {
      isKept = false;
    }
  };

  const labelOf = (article) => said[article.dataset.id]?.label ?? "";

  // A reason alone says nothing that could be stored.
  const isOpen = (article) => Boolean(said[article.dataset.id]?.why?.trim()) && !labelOf(article);

  const show = (article) => {
    const label = labelOf(article);
    article.querySelector(".hint").hidden = !isOpen(article);
    article.classList.toggle("good", label === "good");
    article.classList.toggle("bad", label === "bad");
    for (const button of article.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.label === label));
    }
  };

  const showProgress = () => {
    const labels = articles.map(labelOf).filter(Boolean);
    const good = labels.filter((label) => label === "good").length;
    const open = articles.filter(isOpen).length;
    const reasons = `${open} ${open === 1 ? "reason" : "reasons"} without a label`;
    const hint = open ? `; ${reasons}: choose good or bad` : labels.length ? "" : ": choose good or bad";
    const lost = isKept ? "" : " (this browser keeps nothing: save before you leave)";
    byId("progress").textContent = `${good} good, ${labels.length - good} bad of ${articles.length}${hint}${lost}`;
    byId("save").disabled = labels.length === 0;
  };

  const filter = () => {
    const [source, outcome, state] = ["source", "outcome", "state"].map((id) => byId(id).value);
    for (const article of articles) {
      article.hidden =
        (source !== "" && article.dataset.source !== source) ||
        (outcome !== "" && article.dataset.outcome !== outcome) ||
        (state !== "" && (labelOf(article) || "none") !== state);
    }
    for (const part of document.querySelectorAll(".side, section.source")) {
      part.hidden = !part.querySelector("article:not([hidden])");
    }
    const shown = articles.filter((article) => !article.hidden).length;
    byId("shown").textContent = shown === articles.length ? "" : `${shown} of ${articles.length} shown`;
  };

  const listen = (article) => {
    const why = article.querySelector("input");
    if (!why) return;
    const { id } = article.dataset;
    why.value = said[id]?.why ?? "";
    const say = (label) => {
      if (label || why.value) said[id] = { label, why: why.value, when: new Date().toISOString() };
      else delete said[id];
      keep();
      show(article);
      showProgress();
    };
    for (const button of article.querySelectorAll("button")) {
      button.addEventListener("click", () => say(labelOf(article) === button.dataset.label ? "" : button.dataset.label));
    }
    why.addEventListener("input", () => say(labelOf(article)));
    show(article);
  };

  const save = () => {
    const lines = articles.filter(labelOf).map((article) => {
      const { id, source, digest } = article.dataset;
      const { label, why, when } = said[id];
      return JSON.stringify({ doc_id: id, source, label, why: why || null, when, recipe, text_digest: digest });
    });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "application/x-ndjson" }));
    link.download = "labels.jsonl";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };

  addEventListener("beforeunload", (event) => {
    // Where the browser keeps nothing, it asks before the page and what was chosen on it go away.
    if (!isKept && articles.some((article) => said[article.dataset.id])) event.preventDefault();
  });
  load();
  articles.forEach(listen);
  for (const id of ["source", "outcome", "state"]) {
    // A browser may restore what was chosen before; the page begins with all documents.
    byId(id).value = "";
    byId(id).addEventListener("change", filter);
  }
  byId("save").addEventListener("click", save);
  showProgress();
})();

// How old the publication is, what a mark of a chart says, and tables as CSV. Pages work without it.

// Hours after which people are to know that nothing new was published.
const OLD_AFTER_HOURS = 26;

const stamp = document.querySelector("[data-published]");
if (stamp) {
  const hours = (Date.now() - Date.parse(stamp.dataset.published)) / 3.6e6;
  const ago = (number, unit) => `${Math.floor(number)} ${unit}${Math.floor(number) === 1 ? "" : "s"} ago`;
  const said = hours < 1 ? "less than an hour ago" : hours < 48 ? ago(hours, "hour") : ago(hours / 24, "day");
  stamp.querySelector("[data-age]").textContent = hours > OLD_AFTER_HOURS ? `${said}: nothing newer was published` : said;
  stamp.classList.toggle("is-old", hours > OLD_AFTER_HOURS);
}

const tooltip = document.createElement("div");
tooltip.className = "tooltip";
tooltip.hidden = true;
document.body.append(tooltip);
document.addEventListener("pointermove", (event) => {
  const mark = event.target.closest?.(".drawing [aria-label]:not([role=graphics-symbol][aria-roledescription=axis])");
  const text = mark?.getAttribute("aria-label")?.replace(/\u2061/g, "").replaceAll("; ", "\n");
  tooltip.hidden = !text || mark.classList.contains("drawing");
  if (tooltip.hidden) return;
  tooltip.style.whiteSpace = "pre-line";
  tooltip.textContent = text;
  const { width, height } = tooltip.getBoundingClientRect();
  tooltip.style.left = `${Math.min(event.clientX + 14, innerWidth - width - 8)}px`;
  tooltip.style.top = `${Math.max(event.clientY - height - 12, 8)}px`;
});

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-download]");
  if (!button) return;
  const rows = [...button.closest("details").querySelectorAll("tr")].map((row) => [...row.cells].map((cell) => cell.textContent));
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n"], { type: "text/csv" }));
  link.download = `${button.dataset.download}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
});

const search = document.querySelector("[data-search]");
if (search) {
  const entries = [...document.querySelectorAll("[data-words]")];
  const synonyms = JSON.parse(search.dataset.synonyms);
  const stem = (word) => word.replace(/(?<=...)(ies|es|s)$/, "");
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (entry, word) => [word, ...(synonyms[word] ?? [])].some((one) => entry.dataset.words.includes(stem(one)));
    for (const entry of entries) entry.hidden = !words.every((word) => fits(entry, word));
    const left = entries.filter((entry) => !entry.hidden).length;
    document.querySelector("[data-found]").textContent = words.length ? `${left} of ${entries.length} tables` : "";
  };
  search.addEventListener("input", show);
  search.value = new URLSearchParams(location.search).get("q") ?? "";
  show();
}

// A number as it is written in a table, with a true minus sign and commas, as JavaScript reads it.
function plain(text) {
  const digits = text.replace("−", "-").replace("e−", "e-").replace(/[,×]/g, "").replace(/^[≤≥] /, "");
  return text === "–" ? "" : isNaN(digits) ? text : digits;
}

// Click a heading to sort its table by that column, again to reverse the order.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.parentElement, row = heading.parentElement, body = row.closest("table").tBodies[0];
    const column = [...row.children].indexOf(heading);
    const descending = heading.getAttribute("aria-sort") === "ascending";
    const value = (line) => line.children[column].dataset.value ?? plain(line.children[column].textContent.trim());
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      const numeric = x !== "" && y !== "" && !isNaN(x) && !isNaN(y);
      return numeric ? x - y : x.localeCompare(y);
    };
    const lines = [...body.rows].sort((a, b) => (descending ? order(b, a) : order(a, b)));
    for (const other of row.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    body.append(...lines);
  });
}

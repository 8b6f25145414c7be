"""What a page must be for those who do not see it or use no mouse, as far as a program can tell."""

from __future__ import annotations

from .conftest import Student

# Every text that can be seen, with its contrast against the opaque colour behind it (WCAG 2.2).
_CONTRASTS = """
    const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = colour.slice(0, 3).map((c) => c / 255)
            .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        for (; element; element = element.parentElement) {
            const colour = rgb(getComputedStyle(element).backgroundColor);
            if (colour[3] !== 0) return colour;
        }
    };
    // WCAG leaves out what cannot be used now.
    const faded = "[aria-disabled=true], [aria-disabled=true] *, :disabled";
    return [...document.querySelectorAll("body *")].filter((element) =>
        element.checkVisibility() && !element.matches(`script, .unseen, ${faded}`) &&
        [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
    ).map((element) => {
        const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
        return [element.textContent, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    });
"""

_STRUCTURE = """
    const problems = [];
    const seen = (element) => element.checkVisibility();
    const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
    for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i)))
        problems.push(`two elements have the id ${id}`);
    for (const name of ["aria-labelledby", "aria-describedby"])
        for (const element of document.querySelectorAll(`[${name}]`))
            for (const id of element.getAttribute(name).split(" "))
                if (!document.getElementById(id)) problems.push(`${name} names ${id}, not there`);
    if (!document.documentElement.lang) problems.push("the page does not say its language");
    if (document.querySelectorAll("h1").length < 1) problems.push("the page has no heading");
    if ([...document.querySelectorAll("main")].filter(seen).length !== 1)
        problems.push("the page has no main part, or two");
    let level = 0;
    for (const heading of [...document.querySelectorAll("h1, h2, h3, h4")].filter(seen)) {
        const own = Number(heading.tagName[1]);
        if (own > level + 1) problems.push(`${heading.textContent} skips a level of headings`);
        level = own;
    }
    for (const image of document.querySelectorAll("img"))
        if (!image.hasAttribute("alt")) problems.push(`${image.src} has no text`);
    for (const element of document.querySelectorAll("[tabindex]"))
        if (element.tabIndex > 0) problems.push(`${element.id} jumps the queue of Tab`);
    for (const box of document.querySelectorAll("[aria-hidden=true]"))
        if (box.matches("button, input, a") || box.querySelector("button, input, a"))
            problems.push(`${box.className} is hidden but has the focus`);
    const small = [...document.querySelectorAll("button, input, select, a")].filter((element) => {
        const { width, height } = element.getBoundingClientRect();
        return seen(element) && !element.matches(".unseen") && (width < 24 || height < 24);
    });
    for (const element of small) problems.push(`${element.outerHTML.slice(0, 80)} is too small`);
    return problems;
"""

_NEED_A_NAME = {
    *("button", "switch", "slider", "textbox", "spinbutton", "combobox", "link", "image"),
    *("progressbar", "checkbox", "timer", "dialog", "group", "ColorWell", "heading", "canvas"),
}


def problems(student: Student, *, texts: int = 6) -> list[str]:
    """What is wrong with the page as it is now, a sentence each; it has at least some `texts`."""
    found: list[str] = student.run(_STRUCTURE)
    tree = student.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    for node in tree:
        role, name = node["role"]["value"], node.get("name", {}).get("value", "")
        if not node["ignored"] and role in _NEED_A_NAME and not name.strip():
            found.append(f"a {role} has no name")
    return found + faint_texts(student, texts)


def faint_texts(student: Student, texts: int = 6) -> list[str]:
    """The texts with too little contrast."""
    contrasts: list[tuple[str, float]] = student.run(_CONTRASTS)
    assert len(contrasts) >= texts
    return [f"{text!r} has a contrast of {ratio:.1f}" for text, ratio in contrasts if ratio < 4.5]

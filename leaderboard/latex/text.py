"""Text of others in LaTeX: none of its characters is a command, and every one of them has a letter in pdfLaTeX."""

from cxrbench.files.names import visible

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "–": "--", "—": "---", "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "†": r"\dag{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "²": "$^2$", "χ": r"$\chi$", "*": "$^{*}$", "≈": r"$\approx$",
    "κ": r"$\kappa$", "Δ": r"$\Delta$", "✓": r"$\checkmark$", "≠": r"$\neq$",
    "|": r"\textbar{}", "`": r"\`{}", "-": "{-}", "[": "{[}", "]": "{]}", '"': r"\symbol{34}",
    "'": r"\textquotesingle{}",
}  # fmt: skip
"""What LaTeX or babel would take for a command or join with its neighbour, or has no letter for."""
PLAIN = {chr(code) for code in (*range(32, 127), *range(0xA1, 0x100))} | set(
    "ĂăĄąĆćČčĎďĐđĘęĚěĞğĹĺĽľŁłŃńŇňŐőŔŕŘřŚśŞşŠšŤťŮůŰűŸŹźŻżŽžŒœİı“”‘’„…•"
)
"""What pdfLaTeX prints in the encoding T1."""


def latex_text(text: str) -> str:
    """Text as it is read; a character that pdfLaTeX has no letter for by its number, ``[U+05D0]``."""
    return "".join(map(_letter, visible(text)))


def latex_code(name: str) -> str:
    """A name in a typewriter face."""
    return f"\\texttt{{{latex_text(name)}}}"


def _letter(letter: str) -> str:
    if letter in SPECIAL:
        return SPECIAL[letter]
    return letter if letter in PLAIN else f"{{[}}U+{ord(letter):04X}{{]}}"

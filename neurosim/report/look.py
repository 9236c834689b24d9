"""How the page looks and what its buttons do: one style sheet, one script, nothing fetched.

Colours are variables, light or dark as the reader's system is, light on paper; figures use the same variables.
"""

STYLE = """
:root{color-scheme:light dark;--ink:#1d1d1f;--muted:#6b6b72;--line:#d8d8de;--paper:#fdfdfc;--soft:#f3f3f1;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#b8609a;--c4:#c98a00;--c5:#3f9fd6;--c6:#8a8a93}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e9e9ec;--muted:#9a9aa3;--line:#3a3a40;--paper:#161618;
--soft:#212125;--c0:#57a9e2;--c1:#f08a4b;--c2:#3fc295;--c3:#e19cc6;--c4:#eeb43c;--c5:#8ccdf3;--c6:#8d8d97}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;margin:0 auto;
max-width:61rem;padding:2.5rem 1.25rem 4rem;color:var(--ink);background:var(--paper);overflow-wrap:break-word}
h1{font-size:1.9rem;line-height:1.2;letter-spacing:-.015em;margin:0 0 .4rem;max-width:40rem}
h2{font-size:1.25rem;letter-spacing:-.01em;margin:3.2rem 0 .8rem;padding-top:.9rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.6rem 0 .4rem}
p{max-width:40rem;margin:.5rem 0}
.lead,figcaption,small,.note{color:var(--muted)}
.note,figcaption{font-size:.875rem;line-height:1.45}
dl.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:1.4rem 1.5rem;
margin:1.8rem 0 1rem}
dl.numbers div{border-top:2px solid var(--ink);padding-top:.5rem}
dl.numbers dt{font-size:.875rem;color:var(--muted)}
dl.numbers dd{margin:0;font-size:1.9rem;line-height:1.15;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
dl.numbers small{display:block;font-size:.8rem;letter-spacing:0;line-height:1.35;margin-top:.2rem}
figure{margin:1.4rem 0 2.2rem;display:grid;grid-template-columns:minmax(0,33rem) minmax(0,1fr);gap:.6rem 2rem}
figure svg{display:block;width:100%;height:auto;font-family:inherit;overflow:visible}
figcaption b{display:block;color:var(--ink);font-weight:600}
.copyable{margin:1rem 0 1.6rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums;line-height:1.35}
th,td{text-align:right;padding:.4rem 0 .4rem 1.2rem;border-bottom:1px solid var(--line);white-space:nowrap;
vertical-align:top}
th{font-weight:500;color:var(--muted);vertical-align:bottom}
th:first-child,td:first-child{text-align:left;padding-left:0}
td small{display:block;font-size:.78rem}td:first-child{white-space:normal;min-width:8.5rem}
td.text{text-align:left;white-space:normal;min-width:11rem}
button{font:inherit;font-size:.8rem;color:var(--muted);background:none;border:1px solid var(--line);border-radius:.3rem;
padding:.15rem .6rem;margin-top:.6rem;cursor:pointer}
button:hover,button:focus-visible{color:var(--ink);border-color:var(--muted)}
pre{background:var(--soft);border-radius:.35rem;padding:.8rem 1rem;overflow-x:auto;font:.8rem/1.5 ui-monospace,
SFMono-Regular,Menlo,Consolas,monospace;margin:.5rem 0}
details summary{cursor:pointer;color:var(--muted);font-size:.875rem}
ul{padding-left:1.1rem;max-width:44rem}li{margin:.25rem 0;font-size:.875rem}
@media (max-width:50rem){body{padding:1.5rem 1rem 3rem}h1{font-size:1.5rem}figure{grid-template-columns:minmax(0,1fr)}
h2{margin-top:2.4rem}dl.numbers{grid-template-columns:repeat(2,minmax(0,1fr))}dl.numbers dd{font-size:1.5rem}}
@media print{@page{margin:16mm}body{max-width:none;padding:0;font-size:10.5pt}button{display:none}
figure,table,dl.numbers,tr{break-inside:avoid}h1,h2,h3{break-after:avoid}h2{margin-top:1.6rem}
figure{grid-template-columns:minmax(0,12.2cm) minmax(0,1fr)}.scroll,pre{overflow:visible}pre{white-space:pre-wrap}
th,td{white-space:normal;padding-left:.7rem}table{font-size:8.5pt}}
"""

# A table as tab-separated text; where a page from a file may not use the clipboard, by way of a selected text field.
SCRIPT = """
for (const button of document.querySelectorAll("button.copy")) {
  button.onclick = async () => {
    const rows = [...button.parentElement.querySelectorAll("tr")].map(row => [...row.cells].map(cell =>
      [...cell.childNodes].map(node => node.textContent.trim()).filter(text => text).join("; ")).join("\\t"));
    const text = rows.join("\\n");
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = document.createElement("textarea");
      field.value = text;
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy table"; }, 1500);
  };
}
addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; });
"""

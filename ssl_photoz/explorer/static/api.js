// Questions to the server. What it refuses arrives as an Error with its own words.

export async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("the server does not answer; is ssl-photoz explore still running?");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.error || `the server answered ${answer.status}`);
}

export const json = async (address, options) => (await ask(address, options)).json();

export const floats = async (address) =>
  new Float32Array(await (await ask(address)).arrayBuffer());

export const sending = (content) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(content),
});

export async function download(address, content, name) {
  const blob = await (await ask(address, sending(content))).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

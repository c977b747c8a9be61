// What is worth hiding, by name.

export const kinds: Record<string, RegExp> = {
  'aws-key': /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/g,
  email: /[\w.+-]+@[\w-]+(?:\.[\w-]+)+/g,
  'github-token': /\bgh[pousr]_[0-9A-Za-z]{36,}\b/g,
  'private-key': /-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*-----END [A-Z ]*PRIVATE KEY-----/g,
};

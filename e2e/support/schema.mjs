// Checks values against the JSON schemas of the api's documents: the words that those use.

const KINDS = {
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  array: Array.isArray,
  string: (value) => typeof value === "string",
  integer: Number.isInteger,
  number: (value) => typeof value === "number",
  boolean: (value) => typeof value === "boolean",
  null: (value) => value === null,
};

/**
 * Returns the violations of a schema by a value, as texts. `document` has the schemas that the
 * schema names.
 */
export function violations(value, schema, document, path = "") {
  if (schema === true) return [];
  if (schema.$ref) {
    const target = schema.$ref.slice(2).split("/").reduce((part, key) => part[key], document);
    return violations(value, target, document, path);
  }
  const found = [];
  const wrong = (text) => found.push(`${path || "/"} ${text}: ${JSON.stringify(value)}`);
  if (schema.type && ![schema.type].flat().some((kind) => KINDS[kind](value))) wrong(`is not ${schema.type}`);
  if ("const" in schema && value !== schema.const) wrong(`is not ${schema.const}`);
  if (schema.enum && !schema.enum.includes(value)) wrong(`is none of ${schema.enum}`);
  for (const part of schema.allOf ?? []) found.push(...violations(value, part, document, path));
  for (const parts of [schema.anyOf, schema.oneOf].filter(Boolean)) {
    const each = parts.map((part) => violations(value, part, document, path));
    if (!each.some((problems) => problems.length === 0)) wrong(`fits none of its forms (${each.flat().join("; ")})`);
  }
  if (KINDS.array(value) && schema.items) {
    value.forEach((item, index) => found.push(...violations(item, schema.items, document, `${path}/${index}`)));
  }
  if (!KINDS.object(value)) return found;
  for (const name of schema.required ?? []) if (!(name in value)) wrong(`has no ${name}`);
  for (const [name, field] of Object.entries(value)) {
    const known = schema.properties?.[name];
    if (known) found.push(...violations(field, known, document, `${path}/${name}`));
  }
  return found;
}

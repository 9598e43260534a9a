// A classic script, so that it works where the modules of the page do not: without them the page
// would stay empty. Such errors do not bubble, so they are captured.
addEventListener(
  "error",
  ({ target }) => {
    if (target.tagName === "SCRIPT")
      document.getElementById("app").textContent = "Switchboard could not be loaded. Please reload the page.";
  },
  true,
);

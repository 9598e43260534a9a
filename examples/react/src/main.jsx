import { createRoot } from "react-dom/client";
import { Call } from "./Call.jsx";

const parameters = new URLSearchParams(location.search);
const call = <Call server="http://localhost:8080" roomId={parameters.get("room")} name={parameters.get("name") ?? "Guest"} />;
createRoot(document.getElementById("root")).render(call);

import "./tokens.css";
import "./base.css";
import { createRoot } from "react-dom/client";

const root = document.getElementById("root");
if (root) createRoot(root).render(<h1>Natter</h1>);

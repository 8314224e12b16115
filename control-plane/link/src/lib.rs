//! What the control plane and an agent say to each other: directives and reports.

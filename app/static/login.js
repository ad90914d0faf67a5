// The login form keeps the address's fragment, which names the job that was open.

document.querySelector("form").action += location.hash;

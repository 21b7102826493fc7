// The names that TeX has for characters.

const pairs = (text) => Object.fromEntries(text.trim().split(/\s+/).map((pair) => pair.split("=")));

export const SYMBOLS = pairs(`
alpha=α beta=β gamma=γ delta=δ epsilon=ϵ varepsilon=ε zeta=ζ eta=η theta=θ vartheta=ϑ iota=ι kappa=κ lambda=λ mu=μ nu=ν xi=ξ
pi=π rho=ρ sigma=σ varsigma=ς tau=τ upsilon=υ phi=ϕ varphi=φ chi=χ psi=ψ omega=ω Gamma=Γ Delta=Δ Theta=Θ
Lambda=Λ Xi=Ξ Pi=Π Sigma=Σ Upsilon=Υ Phi=Φ Psi=Ψ Omega=Ω ell=ℓ hbar=ℏ Re=ℜ Im=ℑ partial=∂ nabla=∇
infty=∞ emptyset=∅ varnothing=∅ forall=∀ exists=∃ nexists=∄ neg=¬ lnot=¬ top=⊤ bot=⊥ angle=∠ triangle=△ prime=′
pm=± mp=∓ times=× div=÷ cdot=⋅ ast=∗ star=⋆ circ=∘ bullet=∙ oplus=⊕ otimes=⊗ odot=⊙ cap=∩ cup=∪ setminus=∖ wedge=∧
land=∧ vee=∨ lor=∨ dagger=† leq=≤ le=≤ geq=≥ ge=≥ neq=≠ ne=≠ lt=< gt=> ll=≪ gg=≫ equiv=≡ sim=∼ simeq=≃ approx=≈ cong=≅ propto=∝
in=∈ notin=∉ ni=∋ subset=⊂ supset=⊃ subseteq=⊆ supseteq=⊇ mid=∣ nmid=∤ parallel=∥ perp=⊥ vdash=⊢ leftarrow=← gets=←
rightarrow=→ to=→ leftrightarrow=↔ uparrow=↑ downarrow=↓ Leftarrow=⇐ Rightarrow=⇒ implies=⟹ impliedby=⟸ Leftrightarrow=⇔ iff=⟺
mapsto=↦ longrightarrow=⟶ Longrightarrow=⟹ sum=∑ prod=∏ int=∫ iint=∬ oint=∮ bigcup=⋃ bigcap=⋂ bigoplus=⨁ bigvee=⋁ bigwedge=⋀ ldots=… dots=… cdots=⋯ vdots=⋮ ddots=⋱ langle=⟨ rangle=⟩
lfloor=⌊ rfloor=⌋ lceil=⌈ rceil=⌉ lvert=| rvert=| vert=| lVert=‖ rVert=‖ Vert=‖ lbrace={ rbrace=} backslash=∖
therefore=∴ because=∵ square=□ checkmark=✓ colon=:
`);

export const FUNCTIONS = new Set(
  "arccos arcsin arctan arg cos cosh cot coth csc deg det dim exp gcd hom inf ker lg lim liminf limsup ln log max min mod bmod Pr sec sin sinh sup tan tanh argmax argmin".split(" "),
);

// What has its index below and its exponent above.
export const LIMITS = new Set("sum prod bigcup bigcap bigoplus bigvee bigwedge lim liminf limsup max min sup inf argmax argmin underbrace overbrace".split(" "));

export const SPACES = { ",": ".17em", ":": ".22em", ";": ".28em", "!": "-.17em", " ": ".25em", quad: "1em", qquad: "2em" };

export const ACCENTS = {
  hat: "^", widehat: "^", bar: "¯", overline: "‾", underline: "_", tilde: "~", widetilde: "~", vec: "→", overrightarrow: "→", dot: "˙", ddot: "¨",
  check: "ˇ", breve: "˘", overbrace: "⏞", underbrace: "⏟",
};

// Where an alphabet's capitals, small letters and digits begin, and the letters that stand elsewhere.
export const ALPHABETS = {
  mathbb: [0x1d538, 0x1d552, 0x1d7d8, { C: "ℂ", H: "ℍ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ" }],
  mathbf: [0x1d400, 0x1d41a, 0x1d7ce],
  boldsymbol: [0x1d468, 0x1d482, 0x1d7ce],
  mathcal: [0x1d49c, 0x1d4b6, 0, { B: "ℬ", E: "ℰ", F: "ℱ", H: "ℋ", I: "ℐ", L: "ℒ", M: "ℳ", R: "ℛ", e: "ℯ", g: "ℊ", o: "ℴ" }],
  mathfrak: [0x1d504, 0x1d51e, 0, { C: "ℭ", H: "ℌ", I: "ℑ", R: "ℜ", Z: "ℨ" }],
  mathsf: [0x1d5a0, 0x1d5ba, 0x1d7e2],
  mathtt: [0x1d670, 0x1d68a, 0x1d7f6],
  mathrm: [0, 0, 0],
};

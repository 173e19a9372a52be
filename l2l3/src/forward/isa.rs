//! Which instructions the straight path may use: found out once, at start.

/// An instruction set for the straight path, which this machine has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isa {
    /// Plain Rust, on any machine.
    Portable,
    /// SSE4.2, which every machine has that runs DPDK on x86-64.
    #[cfg(target_arch = "x86_64")]
    Sse42(Sse42),
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// AVX-512 F, BW and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

/// Proof that this machine has SSE4.2.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sse42(());

/// Proof that this machine has AVX2.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Avx2(());

/// Proof that this machine has AVX-512 F, BW and VL.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Avx512(());

impl Isa {
    /// All that this machine has, the fastest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        #[cfg(target_arch = "x86_64")]
        let vector = {
            let sse42 = is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("popcnt");
            let avx2 = sse42
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("movbe");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl");
            [
                avx512.then_some(Isa::Avx512(Avx512(()))),
                avx2.then_some(Isa::Avx2(Avx2(()))),
                sse42.then_some(Isa::Sse42(Sse42(()))),
            ]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let vector = [];
        vector.into_iter().flatten().chain([Isa::Portable])
    }

    /// The fastest that this machine has.
    pub fn detect() -> Self {
        Isa::available().next().unwrap_or(Isa::Portable)
    }

    /// The one with this name, if this machine has it.
    pub fn named(name: &str) -> Option<Self> {
        Isa::available().find(|isa| isa.name() == name)
    }

    /// Its name, for people and in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Sse42(_) => "sse4.2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "avx512",
        }
    }
}

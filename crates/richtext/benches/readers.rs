//! How long hostile and common texts take: `cargo bench -p frontdesk-richtext`. Ten times the text must take ten times as long.
#![allow(missing_docs)] // made by criterion's macros

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use frontdesk_richtext::{
    ChannelRules, read, render_parts,
    telegram::{Entity, EntityKind},
};

const COMMON: &str =
    "It **ships** today, see [the page](https://shop.example/t/77) or `track`:\n\n- one\n- two\n\n> said _before_\n\n";

fn texts(bytes: usize) -> Vec<(&'static str, String)> {
    let of = |unit: &str| unit.repeat(bytes.div_ceil(unit.len()));
    vec![
        ("common", of(COMMON)),
        ("brackets", of("[")),
        ("stars", of("*")),
        ("stars and letters", of("*a **b ")),
        ("angles", of(">")),
        ("bars", of("||")),
        ("backticks", of("`a``")),
        ("underscores", of("_a __b ")),
        ("images", of("![")),
        ("links", of("[a](b")),
        ("tags", of("<b>")),
        ("addresses", of("https://a")),
    ]
}

fn readers(criterion: &mut Criterion) {
    for bytes in [100 * 1024, 1024 * 1024] {
        for (name, read) in [
            ("markdown", read::markdown as fn(&str) -> _),
            ("discord", read::discord),
            ("html", read::html),
            ("plain", read::plain),
        ] {
            let mut group = criterion.benchmark_group(name);
            group.sample_size(10).throughput(Throughput::Bytes(bytes as u64));
            for (text_name, text) in texts(bytes) {
                group.bench_with_input(BenchmarkId::new(text_name, bytes), &text, |bencher, text| {
                    bencher.iter(|| black_box(read(text)));
                });
            }
        }
    }
}

fn entities(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("telegram");
    group.sample_size(10);
    for count in [10_000, 100_000] {
        let text = "ab 👍 ".repeat(count);
        let kinds =
            [EntityKind::Bold, EntityKind::Italic, EntityKind::Code, EntityKind::Blockquote, EntityKind::Spoiler];
        let entities: Vec<Entity> = (0..count)
            .zip(kinds.iter().cycle())
            .map(|(nth, kind)| Entity { offset: nth * 3, length: 7 + nth % 1_000, kind: kind.clone() })
            .collect();
        group.bench_function(BenchmarkId::new("entities", count), |bencher| {
            bencher.iter(|| black_box(read::telegram(&text, &entities)));
        });
    }
}

fn splitter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("messages");
    group.sample_size(10);
    for bytes in [100 * 1024, 1024 * 1024] {
        for (name, text) in [
            ("common", COMMON.repeat(bytes / COMMON.len())),
            ("one paragraph", "words and *words*. ".repeat(bytes / 19)),
        ] {
            let document = read::markdown(&text);
            for (channel, rules) in [("telegram", ChannelRules::TELEGRAM), ("discord", ChannelRules::DISCORD)] {
                group.throughput(Throughput::Bytes(bytes as u64));
                group.bench_function(BenchmarkId::new(format!("{channel}, {name}"), bytes), |bencher| {
                    bencher.iter(|| black_box(render_parts(&document, &rules)));
                });
            }
        }
    }
}

criterion_group!(benches, readers, entities, splitter);
criterion_main!(benches);

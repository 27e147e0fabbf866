"""The words in the sandbox's records: invented names and messages of Indonesian customers."""

from __future__ import annotations

from typing import Final

# fmt: off
FIRST_NAMES: Final = (
    "Adi", "Agus", "Ahmad", "Aisyah", "Andi", "Anisa", "Arif", "Ayu", "Bagas", "Bambang", "Bayu",
    "Budi", "Cahya", "Citra", "Dedi", "Desi", "Dewi", "Dian", "Dimas", "Dina", "Dwi", "Eka",
    "Eko", "Endang", "Fajar", "Farah", "Fitri", "Galih", "Gita", "Hadi", "Hana", "Hendra", "Ika",
    "Indah", "Intan", "Irfan", "Joko", "Kartika", "Lestari", "Lina", "Made", "Maya", "Mega",
    "Nadia", "Ni'mah", "Novi", "Nur", "Nyoman", "Oki", "Putri", "Putu", "Rahmat", "Ratna", "Reza",
    "Rina", "Rizky", "Sari", "Sinta", "Siti", "Slamet", "Sri", "Teguh", "Tri", "Utami", "Wahyu",
    "Wati", "Wayan", "Yanti", "Yuda", "Zahra",
)
LAST_NAMES: Final = (
    "Aditya", "Anggraini", "Asmara", "Cahyono", "Fauzi", "Firmansyah", "Ginting", "Gunawan",
    "Hakim", "Halim", "Handayani", "Harahap", "Hartono", "Hidayat", "Hutagalung", "Iskandar",
    "Kurniawan", "Kusuma", "Lubis", "Maharani", "Maulana", "Nasution", "Nugroho", "Nurhaliza",
    "Pangestu", "Permata", "Prabowo", "Pranata", "Prasetyo", "Pratama", "Purnama", "Putra",
    "Rahmawati", "Ramadhan", "Rosmala", "Safitri", "Santoso", "Saputra", "Setiawan", "Siahaan",
    "Simanjuntak", "Siregar", "Sitompul", "Suharto", "Suryani", "Sutanto", "Syahputra", "Tanjung",
    "Wibowo", "Widodo", "Wijaya", "Wulandari", "Yulianto", "Zulkarnain",
)
# Unusual display names: emoji, shops, single words, double spaces.
ODD_NAMES: Final = (
    "Bunda Aqila 🌸", "✨ Rara Collection ✨", "Pak RT 05", "Toko Berkah Jaya 🛒", "~ putri ~",
    "H. M. Yusuf, S.E.", "🙏🏽", "CV. Maju  Terus", "Ibu Nyoman (Denpasar)", "mas_joko88",
    'Agus "Gondrong" W.', "Dapur Mamah Fatih 👩‍🍳",
)
LABELS: Final = (
    "Important", "Komplain", "Hot Lead 🔥", "Sudah Bayar", "Menunggu Pembayaran", "Reseller",
    "Refund", "VIP", "Follow Up", "Spam", "Pengiriman", "Garansi",
)
AGENTS: Final = (
    "Ratna Kusuma", "Fajar Hidayat", "CS Malam", "Nadia Permata", "Yuda Prasetyo", "Gita Wulandari",
    "Agent AI 🤖", "Teguh Santoso", "Maya Siregar", "Bayu Nugroho", "Intan Safitri",
)
BUSINESSES: Final = (
    "Toko Berkah Jaya", "CV Sinar Abadi", "Batik Nusantara", "Kopi Senja Roastery",
    "Klinik Sehat Bersama", "PT Mitra Logistik Andalan", "Travel Al-Barokah",
    "Rumah Makan Padang Sederhana Rasa",
)
# WhatsApp is in the list several times, because most inboxes are WhatsApp numbers.
PLATFORMS: Final = (
    "whatsapp", "whatsapp", "instagram", "whatsapp", "livechat", "messenger", "whatsapp",
    "telegram",
)
# fmt: on
QUESTIONS: Final = (
    "Halo kak, mau tanya apakah barangnya masih ready? 🙏",
    "Selamat pagi min, saya mau order 2 pcs ukuran L warna navy, bisa kirim hari ini?",
    "Kak, pesanan saya nomor 0{} kok belum sampai ya? Sudah 5 hari 😭",
    "Min mau tanya harga grosirnya berapa ya kalau ambil 50 pcs?",
    "Assalamualaikum, apakah bisa COD ke daerah Bantul?",
    "Permisi kak, cara klaim garansinya bagaimana ya?",
    "Halo, saya tertarik dengan promo yang di Instagram. Masih berlaku?",
    "Ongkir ke Makassar berapa kak? Berat kira-kira 3 kg",
    "Saya sudah transfer ya kak, mohon dicek 🙏🙏\nAtas nama Dewi, bank BCA, Rp1.250.000",
    "Boleh minta katalog lengkapnya?",
    "Apakah ada lowongan kerja di sini?",
    "Kak barangnya rusak pas sampai 😡 ini fotonya, tolong segera diproses",
    "Mau jadwal ulang appointment ke hari Kamis jam 14:00, bisa?",
    "Paket {} sudah dikirim belum ya? Resinya kok tidak ditemukan",
    "Min, akun saya tidak bisa login dari kemarin. Sudah coba reset password tapi ga masuk",
    "Hi, do you ship to Malaysia? 🇲🇾",
    "P",
    "👍",
    "Bisa minta invoice atas nama PT ya kak, untuk reimburse kantor. NPWP menyusul.",
    "Kalau untuk paket Umroh keberangkatan bulan Juli, seat-nya masih tersedia untuk 4 orang?",
)
ANSWERS: Final = (
    "Baik kak, mohon ditunggu ya, kami cek dulu 🙏",
    "Terima kasih sudah menghubungi kami! Ada yang bisa kami bantu lagi? 😊",
    "Pesanan {} sudah kami proses dan akan dikirim sore ini. Nomor resi menyusul ya kak.",
    "Mohon maaf atas ketidaknyamanannya kak. Boleh dikirimkan foto dan video unboxing-nya?",
    "Untuk pengiriman ke luar Jawa estimasi 3-5 hari kerja, kak.",
    "Siap kak, ditunggu kedatangannya ✨",
    "Stok masih tersedia kak. Silakan isi format berikut:\nNama:\nAlamat:\nNo. HP:\nPesanan:",
    "Halo Kak! Saya asisten virtual 🤖. Silakan pilih: 1) Cek pesanan 2) Komplain 3) CS",
    "Oke, terima kasih banyak kak 🙏🏽❤️",
    "Dana refund sudah kami kirim ya kak, silakan dicek dalam 1x24 jam.",
    'Link pembayaran: https://pay.example.com/inv/{}?ref="wa" (berlaku 24 jam)',
    "ok",
    'Untuk promo "Gajian Sale" berlaku s/d 30 April ya kak, diskon s.d. 40% \\o/',
    "Jam operasional kami Senin-Jumat 08.00-17.00 WIB, Sabtu 08.00-12.00 WIB.",
    "[image]",
    "Kak, paketnya sudah dibawa kurir. Jika dalam 2 hari belum bergerak, kabari kami ya.",
)
NOTES: Final = (
    "Pelanggan VIP, prioritaskan.",
    "Sudah ditelepon 2x, tidak diangkat. Coba lagi besok pagi.",
    "Minta refund penuh → eskalasi ke Bu Ratna",
    "Alamat: Jl. Melati No. 12, RT 03/RW 07\nKel. Sukamaju",
    "follow up tgl 15 🔁",
)
COLORS: Final = ("#ef4444", "#f59e0b", "#10b981", "#3b82f6", "#8b5cf6")
PIPELINES: Final = ("Penjualan", "Purna Jual", "Onboarding", "Kemitraan")
CITIES: Final = ("Jakarta", "Bandung", "Surabaya", "Medan", "Makassar", "Denpasar", "Yogyakarta")
INBOX_NAMES: Final = ("CS", "Sales", "Admin", "Support", "Reservasi", "Komplain", "Marketing")

"""What the bank and the shop of the embedded messages tell their customers, for each intent."""

HAND_OVER = "Thank you for your message. A colleague will look at it and answer you here."

# Nothing for `speak_to_person`: that one is handed over.
REPLIES = {
    # A bank's customers
    "card_arrival": "A new card takes five to seven working days. You see where it is in the app, under Cards.",
    "card_lost": "Please block the card in the app, under Cards. We then send you a new one at once.",
    "card_declined": "Please check your balance and the card's limits in the app, then pay with chip and PIN.",
    "card_swallowed": "The card is blocked now, for safety. Order a new one in the app, under Cards.",
    "pin_forgotten": "The app shows your PIN, under Cards, once you have signed in anew.",
    "pin_change": "You can choose another PIN at any of our cash machines, under PIN services.",
    "transfer_missing": "A transfer takes up to two working days. The app shows how far it is, under Transfers.",
    "transfer_cancel": "You can stop a transfer in the app, under Transfers, until it has been carried out.",
    "transfer_fee": "Transfers within the country are free. What others cost is shown before you confirm them.",
    "balance_wrong": "Payments that are not yet booked stand below your balance. They are booked overnight.",
    "charged_twice": "One of the two is most likely a reservation, which goes by itself within seven days.",
    "unknown_payment": "Please block the card in the app and dispute the payment there: touch it, then Dispute.",
    "cash_limit": "You can see and change your daily cash limit in the app, under Cards, Limits.",
    "exchange_rate": "We use the card network's rate of the day. You find it on our web site, under Rates.",
    "direct_debit_cancel": "You can end direct debits and standing orders in the app, under Payments.",
    "loan_request": "The loan calculator on our web site tells you rate and term, and takes your request.",
    "account_open": "You can open an account in the app within ten minutes, with your passport at hand.",
    "account_close": "Please move your balance, then close the account in the app, under Settings.",
    # A shop's customers
    "order_status": "You see where your parcel is under My orders. The link is in the e-mail we sent, too.",
    "order_cancel": "You can cancel under My orders until the parcel has left us. After that, please return it.",
    "order_change": "You can change an order for one hour, under My orders. After that, please cancel it.",
    "item_return": "You have 30 days to return an item. Print the label under My orders, Return.",
    "refund_missing": "A refund takes up to five working days from the day your parcel has come back.",
    "item_damaged": "We are sorry. Send us a photo under My orders, Report damage, and we send a new one.",
    "item_wrong": "We are sorry. Please return it free of charge under My orders; the right one is on its way then.",
    "item_missing": "An order may come in several parcels: see My orders. If all have come, report it there.",
    "delivery_fee": "Delivery is free from 50 euros within the country. Below that, it costs 4.90 euros.",
    "discount_code": "Enter the code in the basket, before you pay. Each works once, until the date beside it.",
    "in_stock": "Each item's page says whether it is in stock. Touch Notify me, and we write when it is back.",
    "invoice_request": "Your invoices are under My orders. Touch the order, then Invoice.",
    "warranty_claim": "Items have two years of warranty. Tell us what is wrong under My orders, Warranty.",
    "payment_methods": "We take cards, direct debit, PayPal and invoice. You choose when you order.",
    "password_reset": "Touch Forgot password where you sign in. A link comes by e-mail within minutes.",
    "address_change": "You can change your address and name under My account, Personal data.",
}
